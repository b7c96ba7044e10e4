import Checkpoint
import Glibc
import NIOCore
import NIOHTTP1
import SystemSupport

/// Writes the body of one answer into a file as it comes. Blocks its event loop while it writes.
final class ControlDownload: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    /// How it ended, if the answer was whole.
    enum Outcome: Sendable {
        case whole(bytes: UInt64)
        case refused(status: Int, body: [UInt8])
    }

    struct Parameters: Sendable {
        let socket: String
        let file: Int32
        let stall: TimeSpan
        let errorLimit: UInt64
        let progress: @Sendable (UInt64) -> Void
        let done: EventLoopPromise<Outcome>
    }

    private let parameters: Parameters
    private var status = 0
    private var received: UInt64 = 0
    private var refusal: [UInt8] = []
    private var failed = false
    private var deadline: Scheduled<Void>?

    init(_ parameters: Parameters) { self.parameters = parameters }

    func channelActive(context: ChannelHandlerContext) {
        restartDeadline(context.channel)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !failed else { return }
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            status = Int(head.status.code)
            // A body that ends with the connection cannot be told from one cut short.
            guard
                head.headers.contains(name: "content-length")
                    || head.headers.contains(name: "transfer-encoding")
            else {
                return fail(
                    .failed(socket: parameters.socket, reason: "the answer does not say where it ends"),
                    context
                )
            }
        case .body(let piece) where status == 200:
            do {
                try piece.withUnsafeReadableBytes { bytes throws(SystemError) in try write(bytes) }
            } catch {
                return fail(.output(error), context)
            }
            received += UInt64(piece.readableBytes)
            parameters.progress(received)
        case .body(let piece):
            guard UInt64(refusal.count + piece.readableBytes) <= parameters.errorLimit else {
                return fail(.failed(socket: parameters.socket, reason: "the answer is too long"), context)
            }
            refusal.append(contentsOf: piece.readableBytesView)
        case .end:
            deadline?.cancel()
            parameters.done.succeed(
                status == 200 ? .whole(bytes: received) : .refused(status: status, body: refusal)
            )
            context.close(promise: nil)
            return
        }
        restartDeadline(context.channel)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(ControlClientError(receiving: received, from: parameters.socket, error), context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(.brokeOff(socket: parameters.socket, received: received), context)
        context.fireChannelInactive()
    }

    private func fail(_ error: ControlClientError, _ context: ChannelHandlerContext) {
        failed = true
        deadline?.cancel()
        parameters.done.fail(error)
        context.close(promise: nil)
    }

    private func restartDeadline(_ channel: any Channel) {
        deadline?.cancel()
        let (done, socket, stall) = (parameters.done, parameters.socket, parameters.stall)
        deadline = channel.eventLoop.scheduleTask(in: .nanoseconds(Int64(clamping: stall.nanoseconds))) {
            done.fail(ControlClientError.timedOut(socket: socket, after: stall))
            channel.close(promise: nil)
        }
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = try retryingInterrupts("write the received bytes") {
                Glibc.write(parameters.file, rest.baseAddress, rest.count)
            }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        }
    }
}
