import ArgumentParser
import Checkpoint
import Daemon
import Glibc
import SystemSupport

/// Exit codes that several commands share (sysexits.h).
enum Exit {
    /// The command line makes no sense.
    static let usage: Int32 = 64
    /// Whoever was asked for is not here.
    static let unavailable: Int32 = 69
    /// A file cannot be written.
    static let cannotCreate: Int32 = 73
    /// Not now; the same command may succeed later.
    static let tryAgain: Int32 = 75
    /// REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used.
    static let configuration: Int32 = 78
}

/// Standard output and standard error of the client commands.
enum Console {
    /// Writes text to standard output.
    static func put(_ text: String) { write(text, to: STDOUT_FILENO) }

    /// Writes a value as JSON to standard output.
    static func put(json value: some Encodable) throws { put(try ControlJSON.pretty(value) + "\n") }

    /// Writes a line to standard error.
    static func note(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    /// Says what went wrong on standard error; to be thrown, and then ends the program with `code`.
    static func failure(_ message: String, code: Int32) -> ExitCode {
        note("Error: \(message)")
        return ExitCode(code)
    }

    /// The directories of this process, or the end of the program.
    /// - Parameters:
    ///   - guest: its sockets must fit as well.
    ///   - creating: makes the directories where they are missing.
    static func paths(for guest: GuestName? = nil, creating: Bool = false) throws -> Paths {
        do {
            let paths = try Paths()
            if let guest { _ = try paths.primarySocket(guest) }
            if creating { try paths.create() } else { try paths.check() }
            return paths
        } catch {
            throw failure("\(error)", code: Exit.configuration)
        }
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var text = text
        text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
            }
        }
    }
}
