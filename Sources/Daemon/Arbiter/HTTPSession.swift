import CCurl
import Checkpoint
import SystemSupport

/// An HTTP/1.1 client (libcurl): follows no redirect, uses no proxy, takes a bounded answer, keeps connections for a few
/// seconds.
///
/// Unchecked: used by one thread at a time; who has it has got it from a lock.
final class HTTPSession: @unchecked Sendable {
    /// Bytes of an answer that are taken.
    static let answerLimit = 64 << 10
    /// Seconds for which a connection without traffic is used again.
    private static let connectionAge = 5

    private let handle: UnsafeMutableRawPointer
    private let headers: UnsafeMutablePointer<curl_slist>?
    private let errors = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    private var answer: [UInt8] = []

    /// Loads libcurl, where that is not done yet: a few milliseconds.
    /// - Returns: what is missing; nil if nothing is.
    static func prepare() -> String? { CCurl_load().map { String(cString: $0) } }

    /// - Parameter etcd: the files for TLS.
    init(_ etcd: EtcdSpec) throws(ArbiterError) {
        if let missing = Self.prepare() { throw ArbiterError("etcd is asked by libcurl: \(missing)") }
        guard let handle = CCurl_open() else { throw ArbiterError("libcurl cannot be started") }
        self.handle = handle
        headers = CCurl_list_append(nil, "Content-Type: application/json")
        errors.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        let taker: CCurl_taker = { bytes, _, count, context in
            guard let bytes, let context else { return 0 }
            return Unmanaged<HTTPSession>.fromOpaque(context).takeUnretainedValue()
                .take(UnsafeRawBufferPointer(start: bytes, count: count))
        }
        var settings = [
            CCurl_set_pointer(handle, CURLOPT_ERRORBUFFER, errors),
            CCurl_set_taker(handle, taker, Unmanaged.passUnretained(self).toOpaque()),
            CCurl_set_list(handle, CURLOPT_HTTPHEADER, headers),
            // Time-outs by signals would end up anywhere.
            CCurl_set_number(handle, CURLOPT_NOSIGNAL, 1),
            CCurl_set_text(handle, CURLOPT_PROTOCOLS_STR, "http,https"),
            CCurl_set_text(handle, CURLOPT_PROXY, ""),
            CCurl_set_number(handle, CURLOPT_MAXAGE_CONN, Self.connectionAge),
            CCurl_set_number(handle, CURLOPT_SSL_VERIFYPEER, 1),
            CCurl_set_number(handle, CURLOPT_SSL_VERIFYHOST, 2),
        ]
        for (option, file) in [
            (CURLOPT_CAINFO, etcd.authorities), (CURLOPT_SSLCERT, etcd.certificate),
            (CURLOPT_SSLKEY, etcd.key),
        ] {
            if let file { settings.append(CCurl_set_text(handle, option, file)) }
        }
        if let refused = settings.first(where: { $0 != CURLE_OK }) {
            throw ArbiterError("libcurl refuses a setting: \(Self.text(refused))")
        }
    }

    deinit {
        CCurl_close(handle)
        CCurl_list_free(headers)
        errors.deallocate()
    }

    /// Sends `body` and waits for the answer. Where a connection that was kept turns out to be dead, libcurl sends it again on
    /// a new one: it must be something that may be received twice.
    /// - Parameter timeout: for all of it; a millisecond at least.
    /// - Throws: where there is no whole answer. The request may have been received all the same.
    func post(
        _ url: String,
        _ body: [UInt8],
        timeout: TimeSpan
    ) throws(ArbiterError) -> (status: Int, body: [UInt8]) {
        answer.removeAll(keepingCapacity: true)
        errors.pointee = 0
        let limit = Int(clamping: max(timeout.milliseconds, 1))
        var outcome = CCurl_set_text(handle, CURLOPT_URL, url)
        if outcome == CURLE_OK { outcome = CCurl_set_number(handle, CURLOPT_TIMEOUT_MS, limit) }
        if outcome == CURLE_OK { outcome = CCurl_set_number(handle, CURLOPT_CONNECTTIMEOUT_MS, limit) }
        if outcome == CURLE_OK { outcome = CCurl_set_number(handle, CURLOPT_POSTFIELDSIZE, body.count) }
        guard outcome == CURLE_OK else { throw ArbiterError(Self.text(outcome)) }
        outcome = body.withUnsafeBytes { bytes in
            // Read only, and only until the end of the transfer.
            let start = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
            let set = CCurl_set_pointer(handle, CURLOPT_POSTFIELDS, start)
            return set == CURLE_OK ? CCurl_perform(handle) : set
        }
        guard outcome == CURLE_OK else {
            let words = errors.pointee == 0 ? Self.text(outcome) : String(cString: errors)
            guard outcome != CURLE_WRITE_ERROR else {
                throw ArbiterError("the answer has more than \(Self.answerLimit) bytes")
            }
            throw ArbiterError(words)
        }
        return (CCurl_status(handle), answer)
    }

    private func take(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard answer.count + bytes.count <= Self.answerLimit else { return 0 }
        answer.append(contentsOf: bytes)
        return bytes.count
    }

    private static func text(_ code: CURLcode) -> String { String(cString: CCurl_text(code)) }
}
