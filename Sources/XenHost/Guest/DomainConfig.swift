import Checkpoint

/// A guest's configuration as libxl prints it.
///
/// From `xl list -l`, which asks libxl for what is true now (libxl_retrieve_domain_configuration), as `xl save` does: disks and
/// cards that were added since, and the memory it has. libxl's own file under /var/lib/xen is what it began with.
package enum DomainConfig {
    /// Asks xl for the configuration of a domain: JSON, without the domid, which another host must choose anew.
    package static func current(_ guest: FoundGuest) throws(GuestError) -> [UInt8] {
        let output: [UInt8]
        do throws(XenError) {
            output = try XlProgram().describe(guest.domain)
        } catch {
            throw GuestError(guest: guest.name, reason: "its configuration cannot be asked for: \(error)")
        }
        guard let config = extract(output) else {
            let said = String(decoding: output.prefix(200), as: UTF8.self)
            throw GuestError(
                guest: guest.name,
                reason: "xl list -l \(guest.domain) shows no configuration: \(said)"
            )
        }
        return config
    }

    /// Cuts the `config` object out of what `xl list -l` prints, without the `domid` in its `c_info`.
    package static func extract(_ text: [UInt8]) -> [UInt8]? {
        var scanner = JSONScanner(text)
        guard let config = scanner.value(of: "config"), text[config.lowerBound] == UInt8(ascii: "{") else {
            return nil
        }
        let object = Array(text[config])
        scanner = JSONScanner(object)
        guard let member = scanner.member("domid", in: "c_info") else { return object }
        return Array(object[..<member.lowerBound]) + Array(object[member.upperBound...])
    }
}

/// Finds values in JSON text by their keys, and cares for nothing else in it.
package struct JSONScanner {
    private let text: [UInt8]

    package init(_ text: [UInt8]) { self.text = text }

    /// Where the first value with this key is, at any depth.
    package func value(of key: String) -> Range<Int>? { pair(key, from: 0, below: text.count)?.value }

    /// Where a member of an object is, with a comma that separates it from its neighbours.
    func member(_ key: String, in object: String) -> Range<Int>? {
        guard let outer = value(of: object),
            let pair = pair(key, from: outer.lowerBound, below: outer.upperBound)
        else { return nil }
        let after = skipSpace(pair.value.upperBound)
        if after < outer.upperBound, text[after] == UInt8(ascii: ",") {
            return pair.start..<skipSpace(after + 1)
        }
        var before = pair.start
        while before > outer.lowerBound, Self.isSpace(text[before - 1]) { before -= 1 }
        return before > 0 && text[before - 1] == UInt8(ascii: ",")
            ? before - 1..<pair.value.upperBound
            : pair.start..<pair.value.upperBound
    }

    private func pair(_ key: String, from start: Int, below end: Int) -> (start: Int, value: Range<Int>)? {
        var at = start
        while at < end {
            guard text[at] == UInt8(ascii: "\"") else {
                at += 1
                continue
            }
            guard let close = endOfString(at) else { return nil }
            let colon = skipSpace(close)
            if colon < end, text[colon] == UInt8(ascii: ":"),
                text[at + 1..<close - 1].elementsEqual(key.utf8),
                let value = valueRange(skipSpace(colon + 1))
            {
                return (at, value)
            }
            at = close
        }
        return nil
    }

    /// The index after the closing quote of the string that begins at `at`.
    private func endOfString(_ at: Int) -> Int? {
        var at = at + 1
        while at < text.count {
            if text[at] == UInt8(ascii: "\\") {
                at += 2
            } else if text[at] == UInt8(ascii: "\"") {
                return at + 1
            } else {
                at += 1
            }
        }
        return nil
    }

    private func valueRange(_ start: Int) -> Range<Int>? {
        var at = start
        var depth = 0
        while at < text.count {
            switch text[at] {
            case UInt8(ascii: "\""):
                guard let close = endOfString(at) else { return nil }
                at = close
                if depth == 0 { return start..<at }
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                // What closes the surrounding object ends a number or a word.
                if depth == 0 { return start..<at }
                depth -= 1
                if depth == 0 { return start..<at + 1 }
            case UInt8(ascii: ",") where depth == 0: return start..<at
            case let byte where depth == 0 && Self.isSpace(byte): return start..<at
            default: break
            }
            at += 1
        }
        return nil
    }

    private func skipSpace(_ start: Int) -> Int {
        var at = start
        while at < text.count, Self.isSpace(text[at]) { at += 1 }
        return at
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
