import SystemSupport
import Transport

/// An epoch on its way out: from the guest's resume until the kernel has the last of its pages.
struct EpochSend: Equatable, Sendable {
    /// Microseconds.
    var time: Double
    /// Microseconds of the processor, of the engine's thread.
    var processor: Double
    /// On the wire, frames included.
    var bytes: UInt64
}

/// Sees each epoch of an order being encoded and sent.
///
/// Unchecked: the engine's thread writes while it plays an order, the measuring thread reads between orders.
final class SendWatch: EpochWatch, @unchecked Sendable {
    /// Of the newest order.
    private(set) var sends: [EpochSend] = []
    private var connection: PrimaryConnection?
    /// What was when the guest resumed; nil between a send's end and the next resume.
    private var before: (moment: UInt64, processor: UInt64, stream: UInt64, wire: UInt64)?

    func connected(_ connection: PrimaryConnection) { self.connection = connection }

    func began(_ order: EpochOrder) {
        before = nil
        sends = []
        sends.reserveCapacity(order.epochs)
    }

    func resumed(_ moment: UInt64) {
        guard let connection else { return }
        before = (moment, Clock.thread, connection.streamSent, connection.dataSent)
    }

    func looked() {
        guard let before, let connection, connection.isDrained, connection.streamSent != before.stream
        else { return }
        self.before = nil
        sends.append(
            EpochSend(
                time: Double(Clock.boot - before.moment) / 1000,
                processor: Double(Clock.thread - before.processor) / 1000,
                bytes: connection.dataSent - before.wire
            )
        )
    }
}
