import Glibc
import SystemSupport

/// What can be learnt of a guardian without starting one: its standby may be dead, and the images with it or not.
enum GuardianInquiry: Equatable {
    /// It lives, and holds the images of these guests.
    case holds(Set<String>)
    /// No guardian serves the socket: what one held is gone.
    case gone
    /// One may live and gives no answer; why.
    case silent(String)

    /// Asks at `path`, and waits at most `milliseconds` for each of two steps.
    static func ask(_ path: String, milliseconds: Int32) -> GuardianInquiry {
        do throws(SystemError) {
            let socket = try UnixSocket.connect(to: path, milliseconds: Int(milliseconds))
            return .holds(Set(try GuardianClient.keys(socket, milliseconds: milliseconds)))
        } catch {
            // Nobody listens, or it ended while it was asked.
            return [ENOENT, ECONNREFUSED, ECONNRESET, EPIPE].contains(error.code)
                ? .gone : .silent("\(error)")
        }
    }
}
