import Checkpoint
import Logging
import Synchronization
import SystemSupport

/// Numbers the events of one guest and role, and remembers across restarts which one's hooks may not be done.
///
/// An event is written down before its first hook is run and struck out after the last one: a daemon that dies between tells
/// it again, under the same number. What cannot be written down is told all the same.
final class HookJournal: Sendable {
    private struct Record: DurableRecord {
        static let currentSchema = "remusd.hooks/1"

        var schema = Record.currentSchema
        var guest: String
        /// The last event's number.
        var sequence: UInt64 = 0
        /// The event whose hooks are being told.
        var pending: HookCall?
        /// Event → the generation at which it was told last.
        var told: [String: UInt64] = [:]
    }

    private struct State {
        var record: Record?
    }

    private let path: String
    private let guest: String
    private let log: Logger
    private let state = Mutex(State())

    init(path: String, guest: String, log: Logger) {
        self.path = path
        self.guest = guest
        self.log = log
    }

    /// Gives an event its number.
    /// - Parameter lasts: whether it is told again if this process dies before `finish`.
    func begin(_ call: HookCall, lasts: Bool = true) -> HookCall {
        change { record in
            var call = call
            if !call.isRetry {
                record.sequence += 1
                call.sequence = record.sequence
            }
            if lasts {
                record.pending = call
                record.told[call.event.rawValue] = call.generation
            }
            return call
        }
    }

    /// The event's hooks are done.
    func finish(_ call: HookCall) {
        change { if $0.pending?.sequence == call.sequence { $0.pending = nil } }
    }

    /// The event that a daemon which died had not done with.
    var unfinished: HookCall? { state.withLock { loaded(&$0)?.pending } }

    /// Whether hooks were here before, and never heard of this event at this generation.
    func lacks(_ event: HookEvent, at generation: UInt64) -> Bool {
        state.withLock { state in
            guard let record = loaded(&state), record.sequence > 0 else { return false }
            return record.told[event.rawValue] != generation
        }
    }

    private func change<R: Sendable>(_ body: (inout Record) -> R) -> R {
        state.withLock { state in
            var record = loaded(&state) ?? Record(guest: guest)
            let result = body(&record)
            state.record = record
            do { try record.store(at: path) } catch {
                log.error("the events' numbers are not kept: \(error)")
            }
            return result
        }
    }

    private func loaded(_ state: inout State) -> Record? {
        if state.record != nil { return state.record }
        do {
            state.record = try Record.load(from: path)
        } catch {
            // A number that was used already would be taken for an event that was told already.
            log.error(
                "the numbers of earlier events are lost, and go on from the time of day: \(error.reason)"
            )
            state.record = Record(guest: guest, sequence: Clock.wall / 1_000_000_000)
        }
        return state.record
    }
}
