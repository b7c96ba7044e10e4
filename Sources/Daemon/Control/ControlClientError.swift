import Checkpoint
import SystemSupport

/// Why a request to a control socket got no answer. (An answer with an error status is a `ControlFailure`.)
package enum ControlClientError: Error, Equatable, Sendable, CustomStringConvertible {
    /// There is no socket (`stale` false), or a dead process left one behind (`stale` true).
    case notRunning(socket: String, stale: Bool)
    /// It did not answer in time; the request may still take effect.
    case timedOut(socket: String, after: TimeSpan)
    /// The connection ended inside the answer, after this many bytes of it.
    case brokeOff(socket: String, received: UInt64)
    /// Anything else: the socket may not be opened, or the answer is not HTTP.
    case failed(socket: String, reason: String)
    /// What was received could not be written.
    case output(SystemError)

    package var description: String {
        switch self {
        case .notRunning(let socket, stale: false):
            "no \(ControlEndpoint(path: socket)) runs here (socket \(socket))"
        case .notRunning(let socket, stale: true):
            "no \(ControlEndpoint(path: socket)) runs here: it died and left its socket \(socket)"
        case .timedOut(let socket, let time):
            "\(ControlEndpoint(path: socket)) did not answer within \(time) (socket \(socket))"
        case .brokeOff(let socket, let received):
            "the answer of \(ControlEndpoint(path: socket)) broke off after \(received) bytes (socket \(socket))"
        case .failed(let socket, let reason):
            "cannot ask \(ControlEndpoint(path: socket)) (socket \(socket)): \(reason)"
        case .output(let error): "\(error)"
        }
    }
}
