import FoundationEssentials

/// What a handler answers.
package enum ControlResponse: Sendable {
    /// Takes pieces of a streamed answer in order. Blocks until the piece is with the kernel; throws once nobody
    /// listens any more, and the producer must then end.
    package typealias Sink = (UnsafeRawBufferPointer) throws -> Void

    /// A body of JSON.
    case json(status: Int, body: [UInt8])
    /// A body of unknown length, made while it is sent. `produce` runs on a thread that may block. If it throws
    /// before the first byte the client gets the error as JSON; afterwards the connection is cut, so that no client
    /// can take the part for the whole.
    case stream(contentType: String, produce: @Sendable (_ sink: Sink) throws -> Void)

    /// `value` as JSON.
    package static func encoding(_ value: some Encodable, status: Int = 200) -> ControlResponse {
        do {
            return .json(status: status, body: try ControlJSON.encode(value))
        } catch {
            return .failure(status: 500, code: "encoding", message: "the answer cannot be encoded: \(error)")
        }
    }

    /// `{"error":{"code":…,"message":…}}`
    /// - Parameters:
    ///   - code: short and stable, in snake_case, for programs.
    ///   - message: what happened, why, and what to do, for people.
    package static func failure(status: Int, code: String, message: String) -> ControlResponse {
        ControlFailure(status: status, code: code, message: message).response
    }
}

/// An error as it travels: a handler may throw it, `ControlClient` throws what it received.
package struct ControlFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The HTTP status, 400 to 599.
    package let status: Int
    /// Short and stable, in snake_case, for programs.
    package let code: String
    /// What happened, why, and what to do, for people.
    package let message: String

    package init(status: Int, code: String, message: String) {
        self.status = status
        self.code = code
        self.message = message
    }

    package var description: String { message }

    /// The answer that carries it.
    package var response: ControlResponse {
        let body = ErrorBody(error: .init(code: code, message: message))
        return .json(status: status, body: (try? ControlJSON.encode(body)) ?? Array("{}".utf8))
    }

    /// The failure that an answer's body describes, or one made up from its status.
    init(status: Int, body: [UInt8]) {
        if let known = try? ControlJSON.decode(ErrorBody.self, from: body) {
            self.init(status: status, code: known.error.code, message: known.error.message)
        } else {
            self.init(status: status, code: "http_\(status)", message: "answered with HTTP status \(status)")
        }
    }

    private struct ErrorBody: Codable {
        struct Detail: Codable {
            let code: String
            let message: String
        }
        let error: Detail
    }
}
