import Checkpoint

/// The lines of a status paragraph, each a name and a value; an empty value is left out.
enum StatusDetails {
    static func lines(_ status: GuestStatus) -> [(name: String, value: String)] {
        [
            ("guest", join([status.uuid, status.address.map { "at \($0)" } ?? "", memory(status)])),
            ("peer", status.peer ?? ""),
            ("transport", status.transport ?? ""),
            ("link", link(status)),
            ("generation", join(["\(status.generation)", status.session.map { "session \($0)" } ?? ""])),
            ("epoch", epoch(status)),
            ("output", output(status)),
            ("pause", pause(status)),
            ("pages", pages(status)),
            ("sync", sync(status)), ("arbiter", arbiter(status)),
            ("image", image(status)),
        ]
    }

    private static func join(_ parts: [String]) -> String {
        parts.filter { !$0.isEmpty }.joined(separator: ", ")
    }
    private static func size(_ bytes: UInt64) -> String { ByteSize(bytes: bytes).rounded }
    private static func milliseconds(_ count: UInt64) -> String { TimeSpan.milliseconds(count).rounded }
    private static func microseconds(_ count: UInt64) -> String { TimeSpan.microseconds(count).rounded }

    private static func memory(_ status: GuestStatus) -> String {
        guard let memory = status.memoryBytes else { return "" }
        return size(memory)
            + (status.populatedBytes.map { " of memory, \(size($0)) populated" } ?? " of memory")
    }

    private static func epoch(_ status: GuestStatus) -> String {
        let epoch = status.epoch
        // A process that cannot be asked may well have had epochs.
        if status.state == .dead || status.state == .silent, epoch == GuestStatus.Epoch() { return "" }
        func number(_ epoch: UInt64?) -> String { epoch.map { "\($0)" } ?? "none" }
        return join([
            "sent \(number(epoch.sent))", "acknowledged \(number(epoch.acked))",
            "committed \(number(epoch.committed))",
            status.lastAckAgeMs.map { "last acknowledgement \(milliseconds($0)) ago" } ?? "",
            status.intervalMs.map { "one every \(milliseconds($0))" } ?? "",
            status.latencyTargetMs.map { "so that output waits for \(milliseconds($0))" } ?? "",
        ])
    }

    /// Only where it is lost: the age of a living one is that of a heartbeat.
    private static func link(_ status: GuestStatus) -> String {
        guard let failure = status.linkFailure else { return "" }
        return join([failure, status.lastContactAgeMs.map { "heard of \(milliseconds($0)) ago" } ?? ""])
    }

    private static func output(_ status: GuestStatus) -> String {
        guard status.role == .primary else { return "" }
        let latency = status.outputLatencyUs
        return join([
            held(status), dropped(status),
            latency.map { "waits p50 \(microseconds($0.p50)), p99 \(microseconds($0.p99))" } ?? "",
        ])
    }

    private static func held(_ status: GuestStatus) -> String {
        guard let bytes = status.heldBytes else { return "" }
        let packets = status.heldPackets.map { " in \($0) \($0 == 1 ? "packet" : "packets")" } ?? ""
        let share = status.heldPercent.map { $0 > 0 ? " (\($0)% of what may be)" : "" } ?? ""
        return "\(size(bytes)) held\(packets)\(share)"
    }

    private static func dropped(_ status: GuestStatus) -> String {
        guard let packets = status.droppedPackets, packets > 0 else { return "" }
        return "\(packets) \(packets == 1 ? "packet" : "packets") DROPPED"
    }

    private static func pause(_ status: GuestStatus) -> String {
        guard let pause = status.pause else { return "" }
        return
            "p50 \(microseconds(pause.p50)), p99 \(microseconds(pause.p99)), last \(microseconds(pause.last))"
    }

    private static func pages(_ status: GuestStatus) -> String {
        join([
            status.pages.map { "\($0.dirtyLast) dirty in the last epoch, \($0.sentTotal) sent in all" } ?? "",
            status.pages.map { saving($0) } ?? "",
            status.dirtyTracking.map { "found by \($0)" } ?? "",
            status.engine.map { "\($0) engine" } ?? "",
        ])
    }

    /// Only where something was saved.
    private static func saving(_ pages: GuestStatus.Pages) -> String {
        guard let stream = pages.streamBytes, let wire = pages.wireBytes, wire < stream else { return "" }
        return "\(size(stream)) as \(size(wire))"
    }

    private static func sync(_ status: GuestStatus) -> String {
        guard let sync = status.sync else { return "" }
        let share = sync.totalPages == 0 ? "" : " (\(min(100, sync.donePages * 100 / sync.totalPages))%)"
        return "\(sync.donePages) of \(sync.totalPages) pages\(share)"
    }

    private static func arbiter(_ status: GuestStatus) -> String {
        guard let arbiter = status.arbiter else { return "" }
        return join([
            arbiter.name + (arbiter.decides ? "" : ": a person decides"), arbiter.isAsking ? "asked" : "",
            arbiter.lastAnswer ?? "",
        ])
    }

    private static func start(_ status: GuestStatus) -> String {
        guard let needed = status.startNeedsBytes, let free = status.startFreeBytes else { return "" }
        return "started, it takes \(size(needed)) of \(size(free)) free"
    }

    private static func image(_ status: GuestStatus) -> String {
        guard status.role == .standby else { return "" }
        var memory = status.memoryUsedBytes.map { "all images use \(size($0))" } ?? ""
        if let ceiling = status.memoryCeilingBytes {
            memory += memory.isEmpty ? "ceiling \(size(ceiling))" : " of \(size(ceiling))"
        }
        return join([
            status.imageAgeMs.map { "committed \(milliseconds($0)) ago" } ?? "",
            status.mayActivate ? "may be activated" : "may not be activated by itself",
            status.activation == "warm" ? "warm: a paused domain" : "", memory, start(status),
        ])
    }
}
