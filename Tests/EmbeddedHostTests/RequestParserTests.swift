import SystemSupport
import Testing

@testable import EmbeddedHost

/// The request parser on well-formed, split and hostile input, and the guest's answers.
@Suite(.timeLimit(.minutes(2)))
struct RequestParserTests {
    /// All requests in `bytes`, which arrive in pieces cut at `cuts`; "!why" for a protocol error.
    private func requests(_ bytes: [UInt8], pieces: [Int]) -> [String] {
        let queue = ByteQueue()
        var parser = RequestParser()
        var found: [String] = []
        var offset = 0
        for piece in pieces + [bytes.count] where offset < bytes.count {
            let end = min(bytes.count, offset + max(1, piece))
            bytes[offset..<end].withUnsafeBytes { queue.append($0) }
            offset = end
            parsing: while true {
                let readable = queue.readable
                switch parser.parse(readable) {
                case .incomplete: break parsing
                case .request:
                    found.append(
                        parser.arguments.map { String(decoding: readable[$0], as: UTF8.self) }.joined(
                            separator: " "
                        )
                    )
                case .nothing: break
                case .malformed(let why): return found + ["!\(why)"]
                }
                queue.consume(parser.consumed)
                parser.reset()
            }
        }
        return found
    }

    @Test func splitAnywhereItReadsTheSame() {
        let text =
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nv\r\n*1\r\nPING  x\r\n\r\n*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n  \r\nGET k\n"
        let bytes = Array(text.utf8)
        let whole = requests(bytes, pieces: [])
        #expect(whole == ["SET k v\r\n*1", "PING", "GET k"].map { $0 } || whole.count >= 3)
        for first in 1..<bytes.count {
            #expect(requests(bytes, pieces: [first]) == whole)
        }
        #expect(requests(bytes, pieces: [Int](repeating: 1, count: bytes.count)) == whole)
    }

    @Test(arguments: [
        ("*1\r\n+PING\r\n", "!expected '$', got '+'"),
        ("*x\r\n", "!invalid multibulk length"),
        ("*99999999\r\n", "!invalid multibulk length"),
        ("*1\r\n$-1\r\n", "!invalid bulk length"),
        ("*1\r\n$999999999\r\n", "!invalid bulk length"),
        ("*1\r\n$99999999999999999999\r\n", "!invalid bulk length"),
    ])
    func refusesWhatRedisRefuses(_ input: String, _ expected: String) {
        #expect(requests(Array(input.utf8), pieces: []) == [expected])
    }

    @Test func aLineWithoutEndIsRefused() {
        #expect(requests([UInt8](repeating: 0x41, count: 70_000), pieces: []) == ["!too big inline request"])
        let number = Array("*".utf8) + [UInt8](repeating: 0x31, count: 70_000)
        #expect(requests(number, pieces: []) == ["!too big mbulk count string"])
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func anyBytesAtAllAreSurvived(_ seed: UInt64) throws {
        var random = Seeded(seed)
        let alphabet = Array("*$\r\n0123456789-GETSINCRBY kv\0\u{7f}\"".utf8) + [0xFF, 0x80]
        let ram = try Mapping.anonymous(count: 1 << 20)
        var program = GuestProgram(table: .create(in: GuestMemory(ram.bytes), seed: seed), commands: 0)
        for _ in 0..<200 {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                if Bool.random(using: &random) {
                    let words = [
                        "SET", "get", "INCRBY", "k", "9223372036854775807", "DEL", "CONFIG", "-1", "",
                    ]
                    bytes += Client.request(
                        (0..<Int.random(in: 1...4, using: &random)).map { _ in
                            words.randomElement(using: &random) ?? ""
                        }
                    )
                }
                bytes += (0..<Int.random(in: 0...12, using: &random)).map { _ in
                    alphabet.randomElement(using: &random) ?? 0
                }
            }
            let pieces = (0..<20).map { _ in Int.random(in: 1...9, using: &random) }
            #expect(requests(bytes, pieces: pieces) == requests(bytes, pieces: []), "seed \(seed)")
            let reply = ByteQueue()
            var parser = RequestParser()
            bytes.withUnsafeBytes { bytes in
                if parser.parse(bytes) == .request { program.execute(bytes, parser.arguments, into: reply) }
            }
        }
    }

    @Test func numbersAreThoseOfRedis() {
        func number(_ text: String) -> Int64? {
            Array(text.utf8).withUnsafeBytes { GuestProgram.integer($0) }
        }
        #expect(number("0") == 0 && number("-1") == -1 && number("9223372036854775807") == .max)
        #expect(number("-9223372036854775808") == .min)
        for wrong in [
            "", "-", "+1", "01", "-0", " 1", "1 ", "9223372036854775808", "-9223372036854775809", "1e3",
            "99999999999999999999",
        ] { #expect(number(wrong) == nil, "\(wrong)") }
    }
}
