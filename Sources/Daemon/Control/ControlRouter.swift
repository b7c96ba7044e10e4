/// Finds the handler of a request by method and path, and answers for everything else.
///
///     var router = ControlRouter()
///     router.on("GET", "/v1/status") { _, _ in .encoding(statuses) }
///     router.on("POST", "/v1/guests/{name}/activate") { request, names in … names["name"] … }
///     let server = try ControlServer(path: socket, handler: router.handle)
package struct ControlRouter: Sendable {
    /// Answers one request; `names` holds the parts of the path that stand in braces in the pattern.
    package typealias Action =
        @Sendable (_ request: ControlRequest, _ names: [String: String]) throws -> ControlResponse

    private struct Route: Sendable {
        let method: String
        let pattern: [Substring]
        let action: Action
    }

    private var routes: [Route] = []

    package init() {}

    /// Adds a route. A part of `pattern` in braces matches any one part of a path.
    package mutating func on(_ method: String, _ pattern: String, _ action: @escaping Action) {
        routes.append(Route(method: method, pattern: Self.parts(pattern), action: action))
    }

    /// The answer to `request`: of its route, 404 or 405. A thrown `ControlFailure` is sent as it is, any other
    /// error as status 500.
    package func handle(_ request: ControlRequest) -> ControlResponse {
        let parts = Self.parts(request.path)
        var allowed: [String] = []
        for route in routes {
            guard let names = Self.match(parts, route.pattern) else { continue }
            guard route.method == request.method else {
                allowed.append(route.method)
                continue
            }
            do {
                return try route.action(request, names)
            } catch let failure as ControlFailure {
                return failure.response
            } catch {
                return .failure(status: 500, code: "internal", message: "\(error)")
            }
        }
        if allowed.isEmpty {
            return .failure(status: 404, code: "unknown_path", message: "nothing is at \(request.path)")
        }
        return .failure(
            status: 405,
            code: "wrong_method",
            message: "\(request.path) takes \(allowed.joined(separator: ", ")), not \(request.method)"
        )
    }

    private static func parts(_ path: String) -> [Substring] {
        path.split(separator: "/", omittingEmptySubsequences: false)
    }

    private static func match(_ parts: [Substring], _ pattern: [Substring]) -> [String: String]? {
        guard parts.count == pattern.count else { return nil }
        var names: [String: String] = [:]
        for (part, expected) in zip(parts, pattern) {
            if expected.hasPrefix("{"), expected.hasSuffix("}") {
                guard !part.isEmpty else { return nil }
                names[String(expected.dropFirst().dropLast())] = String(part)
            } else if part != expected {
                return nil
            }
        }
        return names
    }
}
