/// Appends fields to a frame's body: integers little endian, texts and blobs with a u32 length before them.
struct FieldWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func put(_ blob: [UInt8]) {
        put(UInt32(blob.count))
        bytes.append(contentsOf: blob)
    }

    mutating func put(_ text: String) { put(Array(text.utf8)) }
}

/// Takes fields from a frame's body; everything past the end is an error, never a trap.
struct FieldReader {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0
    private let type: FrameType

    init(_ bytes: UnsafeRawBufferPointer, of type: FrameType) {
        self.bytes = bytes
        self.type = type
    }

    mutating func take<T: FixedWidthInteger>(_: T.Type = T.self) throws(FrameError) -> T {
        guard bytes.count - position >= MemoryLayout<T>.size else { throw .badBody(type, "cut short") }
        defer { position += MemoryLayout<T>.size }
        return bytes.loadLE(at: position)
    }

    /// A number that can still be counted up, or added to a time: below 2^63.
    mutating func takeNumber() throws(FrameError) -> UInt64 {
        let number = try take(UInt64.self)
        guard number <= UInt64(Int64.max) else { throw .badBody(type, "\(number) is out of range") }
        return number
    }

    mutating func takeBlob() throws(FrameError) -> [UInt8] {
        let count = Int(try take(UInt32.self))
        guard bytes.count - position >= count else { throw .badBody(type, "cut short") }
        defer { position += count }
        return [UInt8](bytes[position..<position + count])
    }

    mutating func takeText(limit: Int = 4096) throws(FrameError) -> String {
        let blob = try takeBlob()
        guard blob.count <= limit else {
            throw .badBody(type, "a text of \(blob.count) bytes, at most \(limit)")
        }
        guard let text = String(validating: blob, as: UTF8.self) else {
            throw .badBody(type, "a text that is not UTF-8")
        }
        return text
    }

    mutating func takeCase<E: RawRepresentable>(_: E.Type) throws(FrameError) -> E
    where E.RawValue: FixedWidthInteger {
        let raw = try take(E.RawValue.self)
        guard let value = E(rawValue: raw) else { throw .badBody(type, "\(E.self) has no value \(raw)") }
        return value
    }

    func finish() throws(FrameError) {
        guard position == bytes.count else {
            throw .badBody(type, "\(bytes.count - position) bytes too many")
        }
    }
}
