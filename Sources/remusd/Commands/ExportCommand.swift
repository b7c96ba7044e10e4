import ArgumentParser
import Checkpoint
import Daemon
import Glibc
import SystemSupport

/// `remusd export`
struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a standby's image of a guest as an xl save file.",
        discussion: """
            To be run on the standby's host. The file holds one committed epoch, whole, in the form of 'xl save': \
            'remusd inspect' reads it, and 'xl restore' takes it. Protection goes on meanwhile. FILE is written aside \
            as FILE.part (mode 0600: it holds the guest's memory) and gets its name only when it is whole; - writes to \
            standard output, where only exit code 0 says that it was whole.

            EXIT CODES
              0   written, whole
              64  the command line makes no sense
              69  no standby runs here, or it has no image of NAME
              73  FILE cannot be written
              75  the image broke off: try again
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR cannot be used
            Interrupted, it leaves no FILE.part.
            """
    )

    @Argument(help: "The guest.", transform: GuestName.argument)
    var name: GuestName

    @Argument(help: "The file to write, or - for standard output.", completion: .file())
    var file: String

    func validate() throws {
        if file.isEmpty { throw ValidationError("FILE is empty; name a file, or - for standard output.") }
    }

    func run() throws {
        let client = ControlClient(path: try Console.paths(for: name).standbySocket())
        guard file != "-" else {
            if Terminal.isTerminal(STDOUT_FILENO) {
                throw Console.failure("standard output is a terminal; name a file", code: Exit.usage)
            }
            try download(client, to: STDOUT_FILENO)
            return
        }
        let aside: AsideFile
        do {
            aside = try AsideFile(path: file)
        } catch {
            throw Console.failure("\(error)", code: Exit.cannotCreate)
        }
        // Ctrl-C must not leave half an image behind.
        let signals = try SignalWaiter { number in
            aside.discard()
            _exit(128 + number)
        }
        defer { withExtendedLifetime(signals) {} }
        do {
            let bytes = try download(client, to: aside.raw)
            try aside.commit()
            Console.note("\(file): \(ByteSize(bytes: bytes).rounded) of \(name), whole")
        } catch let error as SystemError {
            aside.discard()
            throw Console.failure("\(error)", code: Exit.cannotCreate)
        } catch {
            aside.discard()
            throw error
        }
    }

    @discardableResult
    private func download(_ client: ControlClient, to descriptor: Int32) throws -> UInt64 {
        let progress = ProgressLine(label: "exporting \(name)")
        do {
            let bytes = try client.download("/v1/guests/\(name)/export", to: descriptor) {
                progress.update(done: $0, total: 0)
            }
            progress.finish(done: bytes, total: 0)
            return bytes
        } catch {
            progress.abandon()
            switch error {
            case ControlClientError.notRunning:
                throw Console.failure("\(error); start 'remusd standby' on this host", code: Exit.unavailable)
            case let failure as ControlFailure where [404, 409].contains(failure.status):
                throw Console.failure("\(failure)", code: Exit.unavailable)
            case ControlClientError.output: throw Console.failure("\(error)", code: Exit.cannotCreate)
            default: throw Console.failure("\(error); try again", code: Exit.tryAgain)
            }
        }
    }
}
