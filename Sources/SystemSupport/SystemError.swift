import CLinux
import Glibc

/// A system call that failed: which one, on what, and the kernel's reason.
package struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was attempted, in words that follow "cannot": `connect to 127.0.0.1:7070`.
    package let operation: String
    /// The `errno` of the failure.
    package let code: Int32

    /// An error for `operation`; `code` is the current `errno` unless given.
    package init(_ operation: String, code: Int32 = errno) {
        self.operation = operation
        self.code = code
    }

    package var description: String { "cannot \(operation): \(String(cString: strerror(code)))" }
}

/// Runs `body` until it is not interrupted by a signal; a negative result is thrown as a `SystemError`.
/// - Returns: the call's non-negative result.
@discardableResult
package func retryingInterrupts(
    _ operation: @autoclosure () -> String,
    _ body: () -> Int
) throws(SystemError) -> Int {
    while true {
        let result = body()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw SystemError(operation(), code: code) }
    }
}
