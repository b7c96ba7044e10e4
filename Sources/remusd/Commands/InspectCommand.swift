import ArgumentParser
import Daemon
import Glibc
import XenStream

/// `remusd inspect`: what is in an image or a stream, and whether it is whole.
struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what is in an xl image, a libxl stream or a libxc stream, and check it.",
        discussion: """
            Reads an image that `xl save` or `remusd export` wrote, the tee of a protection (`remusd protect --tee`), \
            or what `xl remus` sends, and lists its records. Memory use is small and does not depend on the input.

            EXIT CODES
              0   well-formed: a whole image, or a checkpointed stream that ends after a whole checkpoint
              64  the command line makes no sense
              65  not a whole well-formed stream: malformed, empty, truncated, unrecognised or legacy; standard error \
            says where and what was expected, standard output has what was whole before
              66  the input cannot be opened or read
              74  standard output cannot be written
            """
    )

    enum Output: String, ExpressibleByArgument, CaseIterable {
        case text
        case json
    }

    enum Strictness: String, EnumerableFlag {
        case strict
        case lenient

        static func help(for value: Strictness) -> ArgumentHelp? {
            switch value {
            case .strict: "Every rule of the format, and the checks that Xen's own reader lacks."
            case .lenient: "Tolerate what Xen's own reader tolerates."
            }
        }
    }

    @Argument(help: "The file to read, or - for standard input.")
    var file: String

    @Option(help: "How to show it.")
    var output: Output = .text

    @Flag(help: "Only the summary, no records.")
    var summary = false

    @Flag
    var strictness: Strictness = .strict

    func run() throws {
        signal(SIGPIPE, SIG_IGN)
        let descriptor = file == "-" ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreadable("open") }
        defer { if file != "-" { close(descriptor) } }
        let sink = StandardOutput()
        var inspection = Inspection(
            format: output == .json ? .json : .text,
            summaryOnly: summary,
            strictness: strictness == .strict ? .strict : .lenient,
            output: ListingOutput { sink.write($0) }
        )
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        // The first read tells an input that cannot be read (a directory) from an empty one, before anything is listed.
        var isGood = true
        while isGood {
            let count = read(descriptor, buffer.baseAddress, buffer.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw unreadable("read")
            }
            if count == 0 { break }
            isGood = inspection.feed(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
        if let error = inspection.finish() {
            complain("\(SafeText.terminal(file)) is not a whole well-formed stream: \(error)")
            throw ExitCode(65)
        }
        if let failure = sink.failure {
            complain("cannot write to standard output: " + String(cString: strerror(failure)))
            throw ExitCode(74)
        }
    }

    private func unreadable(_ what: String) -> ExitCode {
        let reason = String(cString: strerror(errno))
        complain("cannot \(what) \(SafeText.terminal(file)): \(reason)")
        return ExitCode(66)
    }

    private func complain(_ text: String) {
        let line = Array(("remusd inspect: " + text + "\n").utf8)
        _ = line.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}

/// Standard output, written whole; remembers why it failed, except that nobody reads it any more.
private final class StandardOutput {
    private(set) var failure: Int32?

    func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var position = 0
        while position < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
            let count = Glibc.write(STDOUT_FILENO, rest.baseAddress, rest.count)
            if count < 0 {
                if errno == EINTR { continue }
                if errno != EPIPE { failure = errno }
                return false
            }
            position += count
        }
        return true
    }
}
