/// Takes requests of the Redis protocol (RESP2: arrays of bulk strings, and inline lines) out of bytes that arrive in
/// pieces of any size. Keeps its place between calls and copies nothing.
struct RequestParser {
    /// What the bytes so far amount to.
    enum Outcome: Equatable {
        /// More bytes are needed.
        case incomplete
        /// One whole request: `arguments` are its parts, `consumed` its length.
        case request
        /// Something empty that gets no answer; `consumed` its length.
        case nothing
        /// No request can follow: answer `-ERR Protocol error: …` and close.
        case malformed(String)
    }

    /// The longest bulk string taken.
    static let maximumBulk = 16 << 20
    /// The most arguments in one request.
    static let maximumArguments = 65536
    /// The most bytes in one request.
    static let maximumRequest = 48 << 20
    /// The longest inline request or length line, as in Redis.
    static let maximumLine = 64 << 10

    /// The request's parts, as offsets from its first byte.
    private(set) var arguments: [Range<Int>] = []
    /// Bytes of the request, once whole.
    private(set) var consumed = 0
    /// Arguments still to come; nil before the request's first line is read.
    private var remaining: Int?
    /// Length of the bulk string whose content comes next, if its line was read.
    private var bulk: Int?

    /// Forgets the last request.
    mutating func reset() {
        arguments.removeAll(keepingCapacity: true)
        consumed = 0
        remaining = nil
        bulk = nil
    }

    /// Looks at what has arrived. `bytes` starts at the request's first byte in every call until the outcome is
    /// something else than `incomplete`; then drop `consumed` bytes and `reset`.
    mutating func parse(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        guard !bytes.isEmpty else { return .incomplete }
        if remaining == nil {
            guard bytes[0] == UInt8(ascii: "*") else { return parseInline(bytes) }
            guard let line = line(bytes, from: 0) else {
                return bytes.count > Self.maximumLine ? .malformed("too big mbulk count string") : .incomplete
            }
            guard let count = number(bytes[1..<line]), count <= Self.maximumArguments else {
                return .malformed("invalid multibulk length")
            }
            consumed = line + 2
            if count <= 0 { return .nothing }
            remaining = count
        }
        while let left = remaining, left > 0 {
            if bulk == nil {
                guard consumed < bytes.count else { return .incomplete }
                guard bytes[consumed] == UInt8(ascii: "$") else {
                    let found = Character(UnicodeScalar(printable(bytes[consumed])))
                    return .malformed("expected '$', got '\(found)'")
                }
                guard let line = line(bytes, from: consumed) else {
                    let length = bytes.count - consumed
                    return length > Self.maximumLine ? .malformed("too big bulk count string") : .incomplete
                }
                guard let length = number(bytes[consumed + 1..<line]), length >= 0, length <= Self.maximumBulk
                else {
                    return .malformed("invalid bulk length")
                }
                consumed = line + 2
                guard consumed + length <= Self.maximumRequest else { return .malformed("too big request") }
                bulk = length
            }
            guard let length = bulk else { return .incomplete }
            guard bytes.count - consumed >= length + 2 else { return .incomplete }
            arguments.append(consumed..<consumed + length)
            consumed += length + 2
            bulk = nil
            remaining = left - 1
        }
        return .request
    }

    /// A line of words.
    private mutating func parseInline(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        guard let newline = bytes.prefix(Self.maximumLine).firstIndex(of: UInt8(ascii: "\n")) else {
            return bytes.count >= Self.maximumLine ? .malformed("too big inline request") : .incomplete
        }
        consumed = newline + 1
        var word: Int?
        for index in 0...newline {
            let isSpace = bytes[index] == UInt8(ascii: " ") || (9...13).contains(bytes[index])
            if let start = word, isSpace {
                arguments.append(start..<index)
                word = nil
            } else if word == nil, !isSpace {
                word = index
            }
        }
        return arguments.isEmpty ? .nothing : .request
    }

    /// Where the line that starts at `from` has its "\r" (the "\n" has arrived too).
    private func line(_ bytes: UnsafeRawBufferPointer, from: Int) -> Int? {
        var index = from
        let end = min(bytes.count - 1, from + Self.maximumLine)
        while index < end {
            if bytes[index] == 13 { return index }
            index += 1
        }
        return nil
    }

    /// A decimal number of at most 10 digits; nil for anything else.
    private func number(_ text: Slice<UnsafeRawBufferPointer>) -> Int? {
        var digits = text
        let negative = digits.first == UInt8(ascii: "-")
        if negative { digits = digits.dropFirst() }
        guard (1...10).contains(digits.count) else { return nil }
        var value = 0
        for digit in digits {
            guard (0x30...0x39).contains(digit) else { return nil }
            value = value * 10 + Int(digit - 0x30)
        }
        return negative ? -value : value
    }

    private func printable(_ byte: UInt8) -> UInt8 { (0x20..<0x7F).contains(byte) ? byte : UInt8(ascii: "?") }
}
