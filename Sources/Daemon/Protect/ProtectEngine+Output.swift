import Checkpoint
import Logging

/// What the engine does for held output besides the machine's orders.
extension ProtectEngine {
    /// How often the output buffer is asked what it holds, which may cost a round trip: more often as it fills.
    private var attention: TimeSpan {
        (held.fillPercent ?? 0) >= 10 ? .milliseconds(20) : .milliseconds(100)
    }

    /// When `attendOutput` is due; nil while nothing that may take time can begin, because the guest is about to stand still.
    var nextAttention: Instant? { suspendDeadline == nil ? heldAt + attention : nil }

    /// Looks after the output, and has epochs shortened while more than half of what may be held is held.
    func attendOutput() {
        guard let nextAttention else { return }
        for notice in output.attend() { log.warning("\(notice)") }
        guard now >= nextAttention else { return }
        let wasFilling = isFilling
        held = output.held()
        heldAt = now
        guard isFilling != wasFilling else { return }
        log.info(
            isFilling ? "held output fills what may be held: shorter epochs" : "held output has room again",
            metadata: ["bytes": "\(held.bytes)"]
        )
        dispatch(.outputFilling(isFilling))
    }

    private var isFilling: Bool { (held.fillPercent ?? 0) > 50 }
}
