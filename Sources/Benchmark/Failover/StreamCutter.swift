import Checkpoint
import Daemon
import Glibc
import SystemSupport
import Transport
import XenStream

/// Ends a primary's connection at each boundary of a recorded stream's records, one after the other, and looks each time at
/// what the standby would activate: exactly the last epoch that came whole.
///
/// Each epoch is sent again after each cut, from its beginning, as a primary does whose session goes on; so an image goes through
/// all cuts of all epochs.
final class StreamCutter {
    struct Outcome: Equatable {
        var cuts = 0
        /// What was not as it should be, a sentence for each cut.
        var wrong: [String] = []
    }

    private static let guest = "cut"
    private static let session: UInt64 = 1

    private let stream: RecordedStream
    private let host: StandbyHost
    private let hello: Hello
    private var outcome = Outcome()

    /// - Parameters:
    ///   - memory: the guest's; bytes.
    ///   - host: a standby that could start the guest.
    init(_ stream: RecordedStream, memory: Int, at host: StandbyHost) {
        self.stream = stream
        self.host = host
        let process = ProcessIdentity(pid: 0, startTime: 0)
        hello = Hello(
            guest: GuestDescription(
                name: Self.guest,
                uuid: .random(),
                kind: .hvm,
                pageCount: memory / guestPageSize,
                address: "127.0.0.1:1",
                config: []
            ),
            generation: 1,
            session: Self.session,
            ackedEpoch: nil,
            imageStillValid: false,
            populatedPages: UInt64(memory / guestPageSize),
            epochCapacity: UInt64(stream.bytes.count),
            // However long it takes, it is not the time that makes an image doubtful here.
            aloneAfter: .seconds(3600),
            bootID: "",
            host: PrimaryIdentity.hostName,
            protectProcess: process,
            guestProcess: process
        )
    }

    /// Makes all cuts.
    func run() throws -> Outcome {
        try stream.bytes.withUnsafeBytes { bytes in
            for (number, epoch) in stream.epochs.enumerated() {
                guard let start = epoch.boundaries.first, let end = epoch.boundaries.last else { continue }
                for boundary in epoch.boundaries {
                    try cut(UnsafeRawBufferPointer(rebasing: bytes[start..<boundary]), of: number)
                }
                // Whole, and its end said, but nobody is there for the ack.
                try cut(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), of: number, isWhole: true)
            }
        }
        return outcome
    }

    private func cut(_ bytes: UnsafeRawBufferPointer, of epoch: Int, isWhole: Bool = false) throws {
        let before = epoch > 0 ? epoch - 1 : nil
        var found: [String] = []
        try converse(before) { committed, connection in
            if committed != before { found.append("the standby welcomes with \(Self.text(committed))") }
            if !bytes.isEmpty { connection.send(bytes, epoch: UInt64(epoch), endsEpoch: isWhole) }
        }
        if let trouble = try trouble(expecting: isWhole ? epoch : before) { found.append(trouble) }
        outcome.cuts += 1
        guard !found.isEmpty else { return }
        let place = isWhole ? "after all of epoch \(epoch)" : "\(bytes.count) bytes into epoch \(epoch)"
        outcome.wrong.append("cut \(place): " + found.joined(separator: "; "))
    }

    private static func text(_ epoch: Int?) -> String { epoch.map { "epoch \($0)" } ?? "no epoch" }

    // MARK: The connection

    /// Connects, says hello, does what is to be done once it is welcome, writes it out, and is gone.
    private func converse(_ acked: Int?, _ body: (_ committed: Int?, PrimaryConnection) -> Void) throws {
        let (near, far) = try UnixSocket.pairOfStreams()
        try host.serve(far)
        let connection = PrimaryConnection(over: near)
        try connection.finishConnecting()
        var hello = hello
        hello.ackedEpoch = acked.map { UInt64($0) }
        try connection.queue(.hello(hello), session: Self.session)
        var welcome: Welcome?
        var refusal: Refusal?
        let deadline = Clock.monotonic + 30_000_000_000
        func pump(until isDone: () -> Bool) throws {
            while true {
                try connection.flush()
                if isDone() { return }
                guard Clock.monotonic < deadline else { throw BenchError("the standby hangs") }
                let wants = connection.wantsToWrite
                _ = Poll.wait(connection.descriptor, writable: wants, milliseconds: 100)
                try connection.receive { message, _ in
                    switch message {
                    case .welcome(let said): welcome = said
                    case .refuse(let said): refusal = said
                    default: break
                    }
                }
                if let refusal { throw BenchError("the standby refuses: \(refusal.text)") }
            }
        }
        try pump { welcome != nil }
        body(welcome?.committedEpoch.map { Int($0) }, connection)
        try pump { !connection.wantsToWrite }
    }

    // MARK: The image

    /// What is wrong with what would be activated now; nil if it is `epoch`, exactly.
    private func trouble(expecting epoch: Int?) throws -> String? {
        let deadline = Clock.monotonic + 30_000_000_000
        while host.isServing(Self.guest) {
            guard Clock.monotonic < deadline else { throw BenchError("the standby does not see the cut") }
            usleep(200)
        }
        let order = ActivateRequest(confirmFenced: hello.host, dryRun: true, listen: "127.0.0.1:0")
        let reply = try host.activate(Self.guest, order)
        guard let epoch else {
            let isNothing = [.noConsistentImage, .imageDropped].contains(reply.outcome)
            return isNothing && host.image(of: Self.guest) == nil
                ? nil : "it would activate what was never whole: \(reply.message)"
        }
        guard reply.outcome == .wouldActivate, reply.epoch == UInt64(epoch) else {
            let text = Self.text(reply.epoch.map { Int($0) })
            return "where epoch \(epoch) was expected, the standby has \(text): \(reply.message)"
        }
        guard let image = host.image(of: Self.guest), image.appliedEpoch == UInt64(epoch) else {
            return "epoch \(epoch) is not applied"
        }
        let content = try GuestContent(of: image)
        return content == stream.epochs[epoch].content ? nil : "the image is not the guest of epoch \(epoch)"
    }
}
