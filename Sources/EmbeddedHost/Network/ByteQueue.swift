import Glibc

/// Bytes that come in at the end and go out at the front, in one piece of memory.
final class ByteQueue {
    private var memory: UnsafeMutableRawPointer?
    private var capacity = 0
    private var start = 0
    private var end = 0

    /// Kept while empty; more is given back.
    private static let keptCapacity = 256 << 10

    deinit { Glibc.free(memory) }

    var count: Int { end - start }
    var isEmpty: Bool { start == end }

    /// What is inside; valid until the next change.
    var readable: UnsafeRawBufferPointer {
        guard let memory, end > start else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(start: memory + start, count: end - start)
    }

    /// Room for `count` bytes at the end; `commit` tells how many were written.
    func reserve(_ count: Int) -> UnsafeMutableRawPointer {
        if capacity - end < count { makeRoom(count) }
        guard let memory else { preconditionFailure("room was made") }
        return memory + end
    }

    /// Takes in what was written to the reserved room.
    func commit(_ count: Int) {
        precondition(count >= 0 && count <= capacity - end)
        end += count
    }

    func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count).copyMemory(from: source, byteCount: bytes.count)
        end += bytes.count
    }

    /// Appends text that the compiler knows.
    func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Appends a number in decimal.
    func append(decimal number: Int64) {
        withUnsafeTemporaryAllocation(byteCount: 24, alignment: 1) { digits in
            var left = number.magnitude
            var position = digits.count
            repeat {
                position -= 1
                digits[position] = UInt8(ascii: "0") + UInt8(left % 10)
                left /= 10
            } while left > 0
            if number < 0 {
                position -= 1
                digits[position] = UInt8(ascii: "-")
            }
            append(UnsafeRawBufferPointer(rebasing: digits[position...]))
        }
    }

    /// Drops `count` bytes from the front.
    func consume(_ count: Int) {
        precondition(count >= 0 && count <= self.count)
        start += count
        if start == end { removeAll() }
    }

    /// Empties the queue.
    func removeAll() {
        start = 0
        end = 0
        if capacity > Self.keptCapacity {
            Glibc.free(memory)
            memory = nil
            capacity = 0
        }
    }

    private func makeRoom(_ count: Int) {
        let held = end - start
        if let memory, start > 0, held + count <= capacity, start >= held {
            memmove(memory, memory + start, held)
        } else {
            let grown = max(held + count, capacity * 2, 4096)
            guard let fresh = malloc(grown) else { fatalError("out of memory for network buffers") }
            if let memory { memcpy(fresh, memory + start, held) }
            Glibc.free(memory)
            memory = fresh
            capacity = grown
        }
        start = 0
        end = held
    }
}
