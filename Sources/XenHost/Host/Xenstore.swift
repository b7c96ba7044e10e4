import CXen
import Checkpoint
import Glibc

/// What is asked of xenstore without changing it.
package protocol XenstoreReading {
    /// The value at `path`, nil if there is none.
    func read(_ path: String) -> String?
    /// The names below `path`, none if it is not there.
    func list(_ path: String) -> [String]
}

/// What is asked of xenstore, and told it.
package protocol XenstoreWriting: XenstoreReading {
    /// - Throws: where it cannot be written: xenstored does not answer, or refuses.
    func write(_ path: String, _ value: String) throws(GuestError)
}

/// A connection to xenstored. Belongs to one thread at a time.
package final class Xenstore: XenstoreWriting {
    private let raw: OpaquePointer
    private let guest: String

    /// Connects on behalf of `guest`.
    package init(for guest: String) throws(GuestError) {
        var code: Int32 = 0
        guard let raw = CXen_store_open(&code) else {
            throw GuestError(
                guest: guest,
                reason: "xenstored does not answer: \(String(cString: strerror(code))); is it running?"
            )
        }
        self.raw = raw
        self.guest = guest
    }

    deinit { CXen_store_close(raw) }

    /// Readable when a watch has fired.
    var descriptor: Int32 { CXen_store_descriptor(raw) }

    package func read(_ path: String) -> String? {
        var code: Int32 = 0
        guard let value = CXen_store_read(raw, path, nil, &code) else { return nil }
        defer { CXen_free(value) }
        return String(cString: value)
    }

    package func list(_ path: String) -> [String] {
        var code: Int32 = 0
        var count: UInt32 = 0
        guard let names = CXen_store_list(raw, path, &count, &code) else { return [] }
        defer { CXen_free(names) }
        return (0..<Int(count)).compactMap { names[$0].map { String(cString: $0) } }
    }

    package func write(_ path: String, _ value: String) throws(GuestError) {
        try check("write \(path) in xenstore", CXen_store_write(raw, path, value))
    }

    /// In one transaction: makes `path` `value` if it is `expected`.
    /// - Returns: false if it is something else, or is not there.
    func exchange(_ path: String, from expected: String, to value: String) throws(GuestError) -> Bool {
        let code = CXen_store_exchange(raw, path, expected, value)
        if code == EEXIST { return false }
        try check("write \(path) in xenstore", code)
        return true
    }

    func watch(_ path: String, token: String) throws(GuestError) {
        try check("watch \(path) in xenstore", CXen_store_watch(raw, path, token))
    }

    /// The token of the next watch that fired, nil if none is left. Never waits, allocates nothing here.
    func nextEvent() -> UInt8? {
        var token: (CChar, CChar) = (0, 0)
        let code = withUnsafeMutableBytes(of: &token) { bytes in
            CXen_store_event(raw, bytes.assumingMemoryBound(to: CChar.self).baseAddress, bytes.count)
        }
        return code == 0 ? UInt8(bitPattern: token.0) : nil
    }

    /// Tells xenstored that a domain which was suspended runs again.
    func resume(_ domain: UInt32) throws(GuestError) {
        try check("tell xenstored that domain \(domain) runs", CXen_store_resume(raw, domain))
    }

    private func check(_ operation: @autoclosure () -> String, _ code: Int32) throws(GuestError) {
        if code != 0 { throw XenFailure.error(guest, operation(), code) }
    }
}
