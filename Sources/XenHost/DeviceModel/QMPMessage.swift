import FoundationEssentials

/// A version of QEMU's, as its greeting has it.
package struct QEMUVersion: Comparable, Sendable, CustomStringConvertible {
    package let major: Int, minor: Int

    package init(_ major: Int, _ minor: Int) { (self.major, self.minor) = (major, minor) }

    package static func < (a: QEMUVersion, b: QEMUVersion) -> Bool { (a.major, a.minor) < (b.major, b.minor) }
    package var description: String { "\(major).\(minor)" }
}

/// What an answer carries, as far as anybody here asks for it.
package struct QMPReturn: Decodable, Equatable, Sendable {
    /// `add-fd`: the number of the set that the descriptor is in.
    package var fdset: UInt32?
    /// `query-status`: what QEMU does, such as `running` or `paused`.
    package var status: String?

    package init(fdset: UInt32? = nil, status: String? = nil) { (self.fdset, self.status) = (fdset, status) }

    package enum CodingKeys: String, CodingKey {
        case fdset = "fdset-id"
        case status
    }
}

/// One message of QEMU's over QMP: a JSON object on a line of its own (QEMU, docs/interop/qmp-spec, "Server output").
package enum QMPMessage: Equatable, Sendable {
    case greeting(QEMUVersion)
    case success(id: UInt64, QMPReturn)
    /// Without an id: QEMU could not read what it was sent.
    case failure(id: UInt64?, String)
    case event(String)

    /// Reads a line; nil if it is none of these.
    package init?(_ line: some Collection<UInt8>) {
        guard let form = try? JSONDecoder().decode(Form.self, from: Data(line)) else { return nil }
        switch (form.greeting, form.result, form.error, form.event) {
        case (let greeting?, nil, nil, nil):
            let numbers = greeting.version.qemu
            self = .greeting(QEMUVersion(numbers.major, numbers.minor))
        case (nil, let result?, nil, nil):
            guard let id = form.id else { return nil }
            self = .success(id: id, result)
        case (nil, nil, let error?, nil): self = .failure(id: form.id, error.desc)
        case (nil, nil, nil, let event?): self = .event(event)
        default: return nil
        }
    }

    private struct Form: Decodable {
        struct Greeting: Decodable { let version: Versions }
        struct Versions: Decodable { let qemu: Numbers }
        struct Numbers: Decodable { let major: Int, minor: Int }
        struct Failure: Decodable { let desc: String }

        let greeting: Greeting?
        let result: QMPReturn?
        let error: Failure?
        let event: String?
        let id: UInt64?

        enum CodingKeys: String, CodingKey {
            case greeting = "QMP"
            case result = "return"
            case error, event, id
        }
    }
}
