import FoundationEssentials
import SystemSupport

/// One request to a control socket, whole.
package struct ControlRequest: Sendable {
    /// `GET`, `POST`.
    package var method: String
    /// The path without the query, percent-decoded: `/v1/guests/web1/activate`.
    package var path: String
    /// The query's values by name, percent-decoded; the last one wins.
    package var query: [String: String]
    /// The body, at most `ControlServer.Limits.bodyBytes`.
    package var body: [UInt8]
    /// The process that asks; nil where the kernel did not say.
    package var peer: PeerCredentials?

    package init(
        method: String,
        path: String,
        query: [String: String] = [:],
        body: [UInt8] = [],
        peer: PeerCredentials? = nil
    ) {
        self.peer = peer
        self.method = method
        self.path = path
        self.query = query
        self.body = body
    }

    /// The body as JSON.
    /// - Throws: `ControlFailure` with status 400, ready to be sent.
    package func decode<T: Decodable>(_ type: T.Type) throws(ControlFailure) -> T {
        do {
            return try JSONDecoder().decode(type, from: Data(body))
        } catch {
            throw ControlFailure(
                status: 400,
                code: "bad_body",
                message: "the body is not the JSON that \(path) takes: \(error.shortDescription)"
            )
        }
    }
}
