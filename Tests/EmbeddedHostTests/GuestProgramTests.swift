import SystemSupport
import Testing

@testable import EmbeddedHost

/// What the guest answers to each command.
@Suite(.timeLimit(.minutes(1)))
struct GuestProgramTests {
    private let ram: Mapping
    init() throws { ram = try Mapping.anonymous(count: 1 << 20) }

    private func run(_ program: inout GuestProgram, _ words: [String]) -> String {
        let bytes = Client.request(words)
        let reply = ByteQueue()
        var parser = RequestParser()
        bytes.withUnsafeBytes { bytes in
            #expect(parser.parse(bytes) == .request)
            program.execute(bytes, parser.arguments, into: reply)
        }
        return String(decoding: reply.readable, as: UTF8.self)
    }

    @Test func answersAreThoseOfRedis() {
        var program = GuestProgram(table: .create(in: GuestMemory(ram.bytes), seed: 1), commands: 0)
        let script: [([String], String)] = [
            (["ping"], "+PONG\r\n"), (["PING", "x"], "$1\r\nx\r\n"), (["Echo", ""], "$0\r\n\r\n"),
            (["GET", "k"], "$-1\r\n"), (["SET", "k", "v"], "+OK\r\n"), (["get", "k"], "$1\r\nv\r\n"),
            (["INCR", "k"], "-ERR value is not an integer or out of range\r\n"),
            (["INCR", "n"], ":1\r\n"), (["INCRBY", "n", "-11"], ":-10\r\n"),
            (["INCRBY", "n", "1x"], "-ERR value is not an integer or out of range\r\n"),
            (["SET", "n", "9223372036854775807"], "+OK\r\n"),
            (["INCR", "n"], "-ERR increment or decrement would overflow\r\n"),
            (["GET", "n"], "$19\r\n9223372036854775807\r\n"),
            (["EXISTS", "k", "k", "none"], ":2\r\n"), (["DBSIZE"], ":2\r\n"),
            (["DEL", "k", "none", "n"], ":2\r\n"), (["DBSIZE"], ":0\r\n"),
            (["SET", "a", "1", "EX", "5"], "-ERR syntax error\r\n"),
            (["SET", "a"], "-ERR wrong number of arguments for 'set' command\r\n"),
            (["HELLO", "3"], "-ERR unknown command 'HELLO'\r\n"),
            (["AVERYLONGCOMMAND\r\n+OK"], "-ERR unknown command 'AVERYLONGCOMMAND??+OK'\r\n"),
            (["CONFIG", "GET", "save"], "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
            (["config", "get", "appendonly"], "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"),
            (["CONFIG", "GET", "*"], "*0\r\n"), (["SET", "a", "b"], "+OK\r\n"), (["FLUSHALL"], "+OK\r\n"),
            (["GET", "a"], "$-1\r\n"),
        ]
        for (words, expected) in script { #expect(run(&program, words) == expected, "\(words)") }
        #expect(program.commands == UInt64(script.count))
        #expect(run(&program, ["INFO"]).contains("db0:keys=0"))
    }

    @Test func aFullRAMSaysSoAndGoesOn() {
        var program = GuestProgram(table: .create(in: GuestMemory(ram.bytes), seed: 1), commands: 0)
        let value = String(repeating: "x", count: 10_000)
        var stored = 0
        while run(&program, ["SET", "k\(stored)", value]) == "+OK\r\n" { stored += 1 }
        #expect((50...104).contains(stored))
        #expect(run(&program, ["SET", "more", value]).hasPrefix("-OOM "))
        #expect(run(&program, ["GET", "k0"]).utf8.count > 10_000)
        #expect(run(&program, ["DEL", "k0"]) == ":1\r\n")
        #expect(run(&program, ["SET", "more", value]) == "+OK\r\n")
        #expect(run(&program, ["DBSIZE"]) == ":\(stored)\r\n")
        #expect(run(&program, ["FLUSHALL"]) == "+OK\r\n")
        #expect(run(&program, ["SET", "large", String(repeating: "y", count: 900_000)]) == "+OK\r\n")
    }
}
