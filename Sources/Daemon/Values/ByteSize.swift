/// A number of bytes, written the way people write it: `256MiB`, `8GiB`, `64KiB`, `4096`.
package struct ByteSize: Comparable, Hashable, Sendable, CustomStringConvertible {
    /// The number of bytes.
    package let bytes: UInt64

    package init(bytes: UInt64) { self.bytes = bytes }

    /// Units of 1024, largest first. There are no decimal units: `256MB` is refused rather than guessed at.
    private static let units: [(name: String, shift: UInt64)] = [
        ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10),
    ]

    /// Parses a whole number with `KiB`, `MiB`, `GiB`, `TiB`, `B` or no unit.
    /// - Throws: `ValueError`, which says what a right one looks like.
    package init(parsing text: String) throws(ValueError) {
        let refusal = ValueError(
            kind: "size",
            text: text,
            rightForm: "write it like 256MiB, 8GiB, 64KiB or 4096"
        )
        var digits = text[...]
        var shift: UInt64 = 0
        if let unit = Self.units.first(where: { text.hasSuffix($0.name) }) {
            digits = digits.dropLast(unit.name.count)
            shift = unit.shift
        } else if digits.hasSuffix("B") {
            digits = digits.dropLast()
        }
        guard let count = WholeNumber.parse(digits), count <= UInt64.max >> shift else { throw refusal }
        bytes = count << shift
    }

    package static func < (a: ByteSize, b: ByteSize) -> Bool { a.bytes < b.bytes }

    /// Exact: the largest unit that shows it whole. `ByteSize(parsing:)` reads it back.
    package var description: String {
        for unit in Self.units where bytes != 0 && bytes & ((1 << unit.shift) - 1) == 0 {
            return "\(bytes >> unit.shift)\(unit.name)"
        }
        return "\(bytes)"
    }

    /// For people: at most one decimal, `1.2GiB`, `110MiB`, `512B`.
    package var rounded: String {
        for unit in Self.units where bytes >> unit.shift > 0 {
            let whole = bytes >> unit.shift
            let tenths = ((bytes & ((1 << unit.shift) - 1)) * 10) >> unit.shift
            return whole < 10 && tenths > 0 ? "\(whole).\(tenths)\(unit.name)" : "\(whole)\(unit.name)"
        }
        return "\(bytes)B"
    }
}
