import FoundationEssentials

/// JSON as the control sockets and `--output json` write it: sorted keys, no escaped slashes.
package enum ControlJSON {
    /// Compact, for the wire.
    package static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }

    /// Indented, for standard output and records.
    package static func pretty(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    /// Reads a value; unknown keys are skipped, so that a newer peer can say more.
    package static func decode<T: Decodable>(_ type: T.Type, from bytes: [UInt8]) throws -> T {
        try JSONDecoder().decode(type, from: Data(bytes))
    }
}

extension Error {
    /// What is wrong with a piece of JSON in one line, without Swift's own wrapping.
    var shortDescription: String {
        guard let error = self as? DecodingError else { return "\(self)" }
        func place(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
        return switch error {
        case .keyNotFound(let key, _): "'\(key.stringValue)' is missing"
        case .typeMismatch(let type, let context): "'\(place(context.codingPath))' is not a \(type)"
        case .valueNotFound(_, let context): "'\(place(context.codingPath))' has no value"
        case .dataCorrupted(let context):
            context.codingPath.isEmpty
                // The decoder does not tell the two apart.
                ? "it is not JSON, or a number in it does not fit"
                : "'\(place(context.codingPath))' has a value that is not known"
        @unknown default: "\(error)"
        }
    }
}
