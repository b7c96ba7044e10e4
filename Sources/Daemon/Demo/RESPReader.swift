/// One answer in the Redis protocol (RESP2), as far as the demo needs it.
enum RESPReply: Equatable {
    case simple(String)
    case error(String)
    case integer(Int64)
    /// nil where there is no such key.
    case bulk([UInt8]?)
}

/// Bytes that are no answer.
struct RESPError: Error, Equatable, CustomStringConvertible {
    let description: String
}

/// Takes answers out of bytes that arrive in pieces of any size.
struct RESPReader {
    private var bytes: [UInt8] = []
    private var start = 0

    mutating func append(_ new: UnsafeRawBufferPointer) {
        if start > 1 << 16 {
            bytes.removeFirst(start)
            start = 0
        }
        bytes.append(contentsOf: new)
    }

    /// The next whole answer; nil if more bytes are needed.
    mutating func next() throws(RESPError) -> RESPReply? {
        guard let end = lineEnd(from: start) else { return nil }
        let text = String(decoding: bytes[(start + 1)..<end], as: UTF8.self)
        let after = end + 2
        switch bytes[start] {
        case UInt8(ascii: "+"):
            start = after
            return .simple(text)
        case UInt8(ascii: "-"):
            start = after
            return .error(text)
        case UInt8(ascii: ":"):
            guard let value = Int64(text) else { throw RESPError(description: "':\(text)' is no number") }
            start = after
            return .integer(value)
        case UInt8(ascii: "$"):
            guard let count = Int(text), count >= -1 else {
                throw RESPError(description: "'$\(text)' is no length")
            }
            guard count >= 0 else {
                start = after
                return .bulk(nil)
            }
            guard bytes.count >= after + count + 2 else { return nil }
            start = after + count + 2
            return .bulk(Array(bytes[after..<after + count]))
        default: throw RESPError(description: "an answer begins with byte \(bytes[start])")
        }
    }

    /// Where the line that begins at `from` has its CR, once its LF has come too.
    private func lineEnd(from: Int) -> Int? {
        var index = from
        while index + 1 < bytes.count {
            if bytes[index] == 13, bytes[index + 1] == 10 { return index }
            index += 1
        }
        return nil
    }
}

/// Requests in the Redis protocol.
enum RESPRequest {
    /// Appends one request to `bytes`.
    static func append(_ parts: [String], to bytes: inout [UInt8]) {
        bytes.append(contentsOf: "*\(parts.count)\r\n".utf8)
        for part in parts { bytes.append(contentsOf: "$\(part.utf8.count)\r\n\(part)\r\n".utf8) }
    }
}
