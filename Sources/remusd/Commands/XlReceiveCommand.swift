import ArgumentParser
import Checkpoint
import Daemon
import Glibc
import SystemSupport

/// `remusd xl-receive`
struct XlReceiveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "xl-receive",
        abstract: "Take what 'xl remus' sends, for a standby.",
        discussion: """
            To be started by 'xl remus' in place of ssh, on the primary's host, which then needs no other part of remusd:

              xl remus -Fnd -s 'remusd xl-receive' web1 10.0.0.2:7070

            or through ssh, on the standby's host:

              xl remus -Fnd -s '' web1 'ssh standby remusd xl-receive 127.0.0.1:7070 --primary web.example'

            The standby must be one that was started with --unsafe-peer. It keeps whole checkpoints as of any guest; but xl \
            waits for no acknowledgement before it lets output go, so 'remusd status' says unacknowledged, never protected. \
            'remusd activate' needs both --confirm-fenced and --accept-rollback, always. xl does not say why it ends: any end \
            is taken for a lost primary, and the image is kept.

            EXIT CODES
              0   xl ended
              64  the command line makes no sense
              75  the standby refused, or is lost; xl then goes on with the guest where it is, unprotected
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR, or this host's key in it, cannot be used
            """
    )

    @Argument(
        help:
            "The standby, ADDRESS:PORT: with TLS, which wants 'remusd pair' first, and plaintext on loopback.",
        transform: SocketAddress.argument
    )
    var standby: SocketAddress

    @Argument(
        parsing: .allUnrecognized,
        help: ArgumentHelp("What xl would run there; it is not run.", visibility: .hidden)
    )
    var instead: [String] = []

    @Option(
        help: """
            The primary's host, as 'activate --confirm-fenced' will have to name it (default: this host's name).
            """
    )
    var primary: String?

    @Option(
        help: """
            Longest silence of xl or the standby, and longest wait for an acknowledgement; then protection ends, and the \
            image is kept. A guest that is paused is silent (default: 10s).
            """,
        transform: TimeSpan.argument
    )
    var silentAfter: TimeSpan = .seconds(10)

    @OptionGroup(title: "Transport") var link: LinkOptions

    func validate() throws {
        if let first = instead.first, first != "xl" {
            throw ValidationError("\(first) is no option, and nothing that xl adds.")
        }
        guard silentAfter >= .seconds(1), silentAfter <= .seconds(3600) else {
            throw ValidationError("--silent-after \(silentAfter): give 1s to 1h.")
        }
    }

    func run() throws {
        Signals.ignore([SIGPIPE])
        var options = XlReceiverOptions(
            standby: standby,
            primary: primary ?? PrimaryIdentity.hostName,
            silentAfter: silentAfter
        )
        if !link.isPlaintext(standby) {
            options.security = try link.security(standby, Console.paths(creating: true))
        }
        var receiver = XlReceiver(options, input: Descriptor(owning: STDIN_FILENO))
        Console.put(XlReceiver.banner)
        do {
            let epochs = try receiver.run()
            Console.note("remusd: xl ended; the standby at \(standby) keeps what \(epochs) epochs brought")
        } catch {
            throw Console.failure("\(error)", code: Exit.tryAgain)
        }
    }
}
