import CNetlink
import Glibc
import SystemSupport

/// A conversation with the kernel's routing netlink, one request after another, each waited for a bounded time.
///
/// One thread at a time. Sending what is built already, and taking the answers, allocates nothing unless it fails.
final class NetlinkSocket {
    private let socket: OpaquePointer
    private let descriptor: Int32
    private let reception: UnsafeMutableRawBufferPointer
    private var sequence: UInt32
    /// The most that an answer is waited for, in nanoseconds. The kernel answers while the request is being sent,
    /// except when it loads a module for it.
    private let patience: UInt64

    init(patience: UInt64 = 5_000_000_000) throws(NetlinkError) {
        guard let socket = nl_socket_alloc() else {
            throw NetlinkError("open a netlink socket", code: -NLE_NOMEM)
        }
        let failure = nl_connect(socket, NETLINK_ROUTE)
        guard failure == 0 else {
            nl_socket_free(socket)
            throw NetlinkError("open a netlink socket", code: failure)
        }
        self.socket = socket
        self.patience = patience
        descriptor = nl_socket_get_fd(socket)
        // Refusals with words, and without a copy of the request (linux/netlink.h). Old kernels do without.
        var on: Int32 = 1
        setsockopt(descriptor, SOL_NETLINK, NETLINK_EXT_ACK, &on, socklen_t(MemoryLayout<Int32>.size))
        setsockopt(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, &on, socklen_t(MemoryLayout<Int32>.size))
        reception = .allocate(byteCount: 1 << 16, alignment: 8)
        sequence = UInt32.random(in: 1...UInt32.max / 2)
    }

    deinit {
        reception.deallocate()
        nl_socket_free(socket)
    }

    /// Sends the requests in `messages` at once and waits for the acknowledgement of each.
    /// - Parameters:
    ///   - messages: requests with NLM_F_ACK, back to back; their sequence numbers are put in here.
    ///   - outcomes: receives for each 0, the errno with which the kernel refused it, or -1 if it did not answer.
    ///   - detail: receives the kernel's words about the last refusal, if it has any.
    /// - Returns: whether all were carried out.
    func perform(
        _ messages: UnsafeMutableRawBufferPointer,
        outcomes: UnsafeMutableBufferPointer<Int32>,
        detail: inout String
    ) -> Bool {
        outcomes.update(repeating: -1)
        let first = number(messages)
        guard send(messages) else { return false }
        let deadline = Clock.monotonic + patience
        var missing = outcomes.count
        var succeeded = true
        while missing > 0, let count = receive(until: deadline) {
            var reader = NetlinkReader(UnsafeRawBufferPointer(rebasing: reception[..<count]))
            while let reply = reader.next() {
                let index = Int(reply.sequence &- first)
                guard reply.type == NetlinkReply.error, index < outcomes.count, outcomes[index] == -1 else {
                    continue
                }
                outcomes[index] = reply.errorCode
                missing -= 1
                guard reply.errorCode != 0 else { continue }
                succeeded = false
                detail = reply.errorDetail
            }
        }
        return succeeded && missing == 0
    }

    /// Sends one request and hands each message of the answer to `body`, until the acknowledgement or the end of the
    /// dump.
    func ask(
        _ action: String,
        _ request: [UInt8],
        _ body: (NetlinkReply) -> Void
    ) throws(NetlinkError) {
        var request = request
        let expected = request.withUnsafeMutableBytes { number($0) }
        guard request.withUnsafeMutableBytes({ send($0) }) else {
            throw NetlinkError(action, code: errno)
        }
        let deadline = Clock.monotonic + patience
        while let count = receive(until: deadline) {
            var reader = NetlinkReader(UnsafeRawBufferPointer(rebasing: reception[..<count]))
            while let reply = reader.next() {
                guard reply.sequence == expected else { continue }
                switch reply.type {
                case NetlinkReply.error:
                    guard reply.errorCode == 0 else {
                        throw NetlinkError(action, code: reply.errorCode, detail: reply.errorDetail)
                    }
                    return
                case NetlinkReply.done:
                    let code = -reply.field(0, as: Int32.self)
                    guard code <= 0 else { throw NetlinkError(action, code: code) }
                    return
                default: body(reply)
                }
            }
        }
        throw NetlinkError(action, code: ETIMEDOUT)
    }

    /// Numbers the messages; returns the first number.
    private func number(_ messages: UnsafeMutableRawBufferPointer) -> UInt32 {
        let first = sequence &+ 1
        var offset = 0
        // struct nlmsghdr: length at 0, sequence at 8, sender at 12; messages begin at multiples of 4.
        while offset + 16 <= messages.count {
            sequence &+= 1
            messages.storeBytes(of: sequence, toByteOffset: offset + 8, as: UInt32.self)
            let length = Int(messages.load(fromByteOffset: offset, as: UInt32.self))
            guard length >= 16 else { break }
            offset += (length + 3) & ~3
        }
        return first
    }

    private func send(_ bytes: UnsafeMutableRawBufferPointer) -> Bool {
        while true {
            let count = Glibc.send(descriptor, bytes.baseAddress, bytes.count, 0)
            if count == bytes.count { return true }
            if count >= 0 || errno != EINTR { return false }
        }
    }

    /// Receives one datagram; nil when the time is up or the socket is broken. Answers that were lost for want of room
    /// (ENOBUFS) are answers that never come.
    private func receive(until deadline: UInt64) -> Int? {
        while true {
            let count = recv(descriptor, reception.baseAddress, reception.count, Int32(MSG_DONTWAIT))
            if count > 0 { return count }
            if count < 0, errno != EAGAIN, errno != EINTR, errno != ENOBUFS { return nil }
            let now = Clock.monotonic
            guard now < deadline else { return nil }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            poll(&entry, 1, Int32(clamping: (deadline - now) / 1_000_000 + 1))
        }
    }
}
