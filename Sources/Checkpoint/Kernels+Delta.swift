/// The page kernels in plain Swift.
extension SwiftKernels {
    /// What of `page` differs from `shadow`, packed as CKernels.h has it; empty if nothing does.
    package static func packDelta(of page: [UInt8], from shadow: [UInt8], narrow: Bool) -> [UInt8] {
        let groups = (0..<64).filter { page[$0 * 64..<$0 * 64 + 64] != shadow[$0 * 64..<$0 * 64 + 64] }
        var packed: [UInt8] = []
        if groups.count > 7 {
            packed += (0..<8).map { byte in mask(8) { groups.contains(byte * 8 + $0) } }
        }
        for group in groups {
            if groups.count <= 7 { packed.append(UInt8(group)) }
            let words = (0..<8).map { group * 64 + $0 * 8..<group * 64 + $0 * 8 + 8 }
            packed.append(mask(8) { page[words[$0]] != shadow[words[$0]] })
            for word in words where page[word] != shadow[word] {
                guard narrow else {
                    packed += page[word]
                    continue
                }
                packed.append(mask(8) { page[word.lowerBound + $0] != shadow[word.lowerBound + $0] })
                packed += word.filter { page[$0] != shadow[$0] }.map { page[$0] }
            }
        }
        return packed
    }

    private static func mask(_ count: Int, _ isSet: (Int) -> Bool) -> UInt8 {
        (0..<count).reduce(0) { $0 | (isSet($1) ? 1 << UInt8($1) : 0) }
    }

    /// `page` with what was packed, and the bytes that took; nil for what `packDelta` cannot have made.
    package static func applyDelta(_ source: [UInt8], listed: Int, narrow: Bool, to page: [UInt8])
        -> (page: [UInt8], used: Int)?
    {
        var page = page
        var rest = source[...]
        guard listed <= 7 else { return nil }
        var groups: [Int?] = Array(repeating: nil, count: listed)
        if listed == 0 {
            guard rest.count >= 8 else { return nil }
            groups = (0..<64).filter { source[$0 / 8] & (1 << UInt8($0 % 8)) != 0 }
            guard groups.count > 7 else { return nil }
            rest = rest.dropFirst(8)
        }
        var last = -1
        for known in groups {
            guard let group = known ?? rest.popFirst().map({ Int($0) }), group > last, group < 64 else {
                return nil
            }
            last = group
            guard let words = rest.popFirst(), words != 0 else { return nil }
            for word in 0..<8 where words & (1 << UInt8(word)) != 0 {
                var bytes: UInt8 = 0xFF
                if narrow {
                    guard let said = rest.popFirst(), said != 0 else { return nil }
                    bytes = said
                }
                for byte in 0..<8 where bytes & (1 << UInt8(byte)) != 0 {
                    guard let value = rest.popFirst() else { return nil }
                    page[group * 64 + word * 8 + byte] = value
                }
            }
        }
        return (page, source.count - rest.count)
    }

    /// Unpacks an LZ4 block (lz4_Block_format.md of the LZ4 project); nil if it is none.
    package static func unpackLZ4(_ source: [UInt8]) -> [UInt8]? {
        var rest = source[...]
        var output: [UInt8] = []
        func length(_ nibble: UInt8) -> Int? {
            var sum = Int(nibble)
            guard nibble == 15 else { return sum }
            while let more = rest.popFirst() {
                sum += Int(more)
                if more != 255 { return sum }
            }
            return nil
        }
        while let token = rest.popFirst() {
            guard let literals = length(token >> 4), rest.count >= literals else { return nil }
            output += rest.prefix(literals)
            rest = rest.dropFirst(literals)
            if rest.isEmpty { return output }
            guard let low = rest.popFirst(), let high = rest.popFirst(), let match = length(token & 15) else {
                return nil
            }
            let distance = Int(low) | Int(high) << 8
            guard distance > 0, distance <= output.count else { return nil }
            for _ in 0..<match + 4 { output.append(output[output.count - distance]) }
        }
        return nil
    }
}
