import Checkpoint

/// A process: it can be stopped and go on, and die between any two steps.
class Process {
    unowned let host: Host
    unowned let world: World
    private(set) var isAlive = true
    private var stops = 0
    /// When it last went on.
    private(set) var wokeAt = Instant(nanoseconds: 0)
    private var backlog: [() -> Void] = []
    /// What becomes of it after so many more steps.
    var fate: (steps: Int, end: () -> Void)?

    init(on host: Host) {
        self.host = host
        world = host.world
    }

    var isRunning: Bool { isAlive && stops == 0 }
    /// The host's boot clock.
    var now: Instant { host.clock.read(at: world.now) }

    /// Does something now, or when it goes on; nothing if it dies first.
    func whenRunning(_ body: @escaping () -> Void) {
        if isRunning { body() } else if isAlive { backlog.append(body) }
    }

    /// Neither runs nor dies for a time: stopped by a signal, or busy.
    func stop(for span: TimeSpan) {
        stops += 1
        world.after(span) { [self] in
            stops -= 1
            guard isRunning else { return }
            wokeAt = world.now
            goOn()
            while isRunning, !backlog.isEmpty { backlog.removeFirst()() }
        }
    }

    /// Between any two steps of its own.
    func step() {
        guard let (steps, end) = fate else { return }
        fate = steps > 1 ? (steps - 1, end) : nil
        if fate == nil { end() }
    }

    /// What it did not finish when it was stopped.
    func goOn() {}

    func die() {
        isAlive = false
        fate = nil
        backlog.removeAll()
    }
}
