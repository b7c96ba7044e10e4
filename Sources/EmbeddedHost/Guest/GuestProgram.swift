/// What the guest runs: a server for a subset of the Redis commands, on the table in its RAM.
struct GuestProgram {
    private(set) var table: GuestTable
    /// Commands executed; a register.
    private(set) var commands: UInt64

    init(table: GuestTable, commands: UInt64) {
        self.table = table
        self.commands = commands
    }

    /// A command's name, upper case, as a number: its bytes, first one highest.
    private struct Name: Equatable {
        let code: UInt64

        init(_ text: StaticString) {
            self.init(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        }

        /// 0 for a name longer than eight bytes, which no command has.
        @inline(__always)
        init(_ bytes: UnsafeRawBufferPointer) {
            var code: UInt64 = 0
            if bytes.count <= 8 {
                for byte in bytes {
                    code = code << 8 | UInt64((0x61...0x7A).contains(byte) ? byte - 32 : byte)
                }
            }
            self.code = code
        }

        static let set = Name("SET"), get = Name("GET"), incr = Name("INCR"), incrby = Name("INCRBY")
        static let del = Name("DEL"), exists = Name("EXISTS"), ping = Name("PING"), echo = Name("ECHO")
        static let dbsize = Name("DBSIZE"), flushall = Name("FLUSHALL"), info = Name("INFO"),
            config = Name("CONFIG")
    }

    /// Executes one request and appends its answer.
    /// - Parameter bytes: the request; `arguments` are offsets into it, at least one.
    mutating func execute(_ bytes: UnsafeRawBufferPointer, _ arguments: [Range<Int>], into reply: ByteQueue) {
        commands += 1
        let count = arguments.count
        @inline(__always)
        func argument(_ index: Int) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: bytes[arguments[index]])
        }
        switch Name(argument(0)) {
        case .set where count == 3: set(argument(1), argument(2), reply)
        case .set where count > 3: reply.append("-ERR syntax error\r\n")
        case .get where count == 2: bulk(table.value(argument(1)), reply)
        case .incr where count == 2: increment(argument(1), by: 1, reply)
        case .incrby where count == 3:
            guard let step = Self.integer(argument(2)) else { return notAnInteger(reply) }
            increment(argument(1), by: step, reply)
        case .del where count >= 2:
            var removed = 0
            for index in 1..<count where table.remove(argument(index)) { removed += 1 }
            integer(Int64(removed), reply)
        case .exists where count >= 2:
            var found = 0
            for index in 1..<count where table.value(argument(index)) != nil { found += 1 }
            integer(Int64(found), reply)
        case .ping where count == 1: reply.append("+PONG\r\n")
        case .ping where count == 2, .echo where count == 2: bulk(argument(1), reply)
        case .dbsize where count == 1: integer(Int64(table.count), reply)
        case .flushall where count <= 2:
            table.removeAll()
            reply.append("+OK\r\n")
        case .info: info(reply)
        case .config where count == 3 && Name(argument(1)) == .get: configuration(argument(2), reply)
        case .config where count >= 2:
            reply.append("-ERR unknown subcommand; only CONFIG GET is known\r\n")
        case .set, .get, .incr, .incrby, .del, .exists, .ping, .echo, .dbsize, .flushall, .config:
            reply.append(
                "-ERR wrong number of arguments for '\(Self.shown(argument(0)).lowercased())' command\r\n"
            )
        default:
            reply.append("-ERR unknown command '\(Self.shown(argument(0)))'\r\n")
        }
    }

    // MARK: Commands

    private mutating func set(
        _ key: UnsafeRawBufferPointer,
        _ value: UnsafeRawBufferPointer,
        _ reply: ByteQueue
    ) {
        if table.set(key, value) { reply.append("+OK\r\n") } else { outOfMemory(reply) }
    }

    private mutating func increment(_ key: UnsafeRawBufferPointer, by step: Int64, _ reply: ByteQueue) {
        var value: Int64 = 0
        if let old = table.value(key) {
            guard let number = Self.integer(old) else { return notAnInteger(reply) }
            value = number
        }
        let (sum, overflow) = value.addingReportingOverflow(step)
        guard !overflow else { return reply.append("-ERR increment or decrement would overflow\r\n") }
        let stored = withUnsafeTemporaryAllocation(byteCount: 24, alignment: 1) { digits in
            var position = digits.count
            var left = sum.magnitude
            repeat {
                position -= 1
                digits[position] = UInt8(0x30 + left % 10)
                left /= 10
            } while left > 0
            if sum < 0 {
                position -= 1
                digits[position] = UInt8(ascii: "-")
            }
            return table.set(key, UnsafeRawBufferPointer(rebasing: digits[position...]))
        }
        if stored { integer(sum, reply) } else { outOfMemory(reply) }
    }

    private func info(_ reply: ByteQueue) {
        let text = """
            # Server\r
            redis_version:7.0.0\r
            redis_mode:standalone\r
            server_name:remusd embedded guest\r
            # Memory\r
            used_memory:\(table.heapTop)\r
            maxmemory:\(table.memory.size)\r
            # Stats\r
            total_commands_processed:\(commands)\r
            # Replication\r
            role:master\r
            # Keyspace\r
            db0:keys=\(table.count),expires=0,avg_ttl=0\r

            """
        reply.append("$\(text.utf8.count)\r\n\(text)\r\n")
    }

    /// What redis-benchmark asks before it starts.
    private func configuration(_ name: UnsafeRawBufferPointer, _ reply: ByteQueue) {
        switch Self.shown(name).lowercased() {
        case "save": reply.append("*2\r\n$4\r\nsave\r\n$0\r\n\r\n")
        case "appendonly": reply.append("*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n")
        default: reply.append("*0\r\n")
        }
    }

    // MARK: Answers

    private func bulk(_ value: UnsafeRawBufferPointer?, _ reply: ByteQueue) {
        guard let value else { return reply.append("$-1\r\n") }
        reply.append("$")
        reply.append(decimal: Int64(value.count))
        reply.append("\r\n")
        reply.append(value)
        reply.append("\r\n")
    }

    private func integer(_ value: Int64, _ reply: ByteQueue) {
        reply.append(":")
        reply.append(decimal: value)
        reply.append("\r\n")
    }

    private func notAnInteger(_ reply: ByteQueue) {
        reply.append("-ERR value is not an integer or out of range\r\n")
    }

    private func outOfMemory(_ reply: ByteQueue) {
        reply.append("-OOM command not allowed: the guest's RAM is full\r\n")
    }

    /// A canonical decimal 64-bit number, as Redis takes it: no plus sign, spaces or leading zeros.
    static func integer(_ text: UnsafeRawBufferPointer) -> Int64? {
        var digits = text[...]
        let negative = digits.first == UInt8(ascii: "-")
        if negative { digits = digits.dropFirst() }
        guard let first = digits.first, digits.count <= 19, first != 0x30 || (digits.count == 1 && !negative)
        else {
            return nil
        }
        var value: UInt64 = 0
        for digit in digits {
            guard (0x30...0x39).contains(digit) else { return nil }
            value = value * 10 + UInt64(digit - 0x30)
        }
        if negative { return value <= 1 << 63 ? Int64(truncatingIfNeeded: 0 &- value) : nil }
        return Int64(exactly: value)
    }

    /// A name for an error message: at most 64 bytes, unprintable ones replaced.
    private static func shown(_ bytes: UnsafeRawBufferPointer) -> String {
        String(
            decoding: bytes.prefix(64).map { (0x20..<0x7F).contains($0) ? $0 : UInt8(ascii: "?") },
            as: UTF8.self
        )
    }
}
