import ArgumentParser
import Checkpoint
import Daemon
import SystemSupport
import XenHost

/// `remusd start`
struct StartCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start",
        abstract: "Start a guest anew on this host, if no other copy of it may run.",
        discussion: """
            Instead of 'xl create', for a guest that remusd knows: after a power cut both hosts may have it. It is started \
            where its durable record is the highest active one, once the other host's standby has confirmed that, or, where \
            that is silent, the guest's arbiter has granted it. What \
            an image holds is not in it: 'remusd activate' is what loses nothing.

            EXIT CODES
              0   the guest was started, or runs here already (--dry-run: it could be)
              10  it ran on the other host since, or on both
              11  the arbiter granted the guest to somebody else
              12  it did not run on this host last
              13  the other host is silent, and nobody has confirmed that it is off
              15  xl cannot start it
              16  an image would be given up: see --abandon-image, or activate it
              64  the command line makes no sense
              75  try again: an image may be trusted for a while longer, or the other host is there and
                  could not answer now, or the arbiter does not answer
              78  the other host could not be asked, or must not be believed: its address, the pairing, this host's key, TLS on
                  one side only; or REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR, or a record, cannot be used
            """
    )

    @Argument(help: "The guest.", transform: GuestName.argument)
    var name: GuestName

    @Option(help: ArgumentHelp("Its configuration (default: /etc/xen/NAME.cfg).", valueName: "file"))
    var config: String?

    @Option(
        help: ArgumentHelp(
            "Where the other host's standby listens, if that is not on record.",
            valueName: "addr:port"
        ),
        transform: SocketAddress.argument
    )
    var peer: SocketAddress?

    @OptionGroup(title: "Transport") var link: LinkOptions

    @Option(help: ArgumentHelp("Vouch that the other host is off or cut off.", valueName: "host"))
    var confirmFenced: String?

    @Option(
        help: ArgumentHelp(
            "The guest's arbiter, where its name on record does not say it all (etcd over TLS).",
            valueName: "spec"
        ),
        transform: ArbiterSpec.argument
    )
    var arbiter: ArbiterSpec?

    @Flag(help: "Give up the image that the other host keeps.")
    var abandonImage = false

    @Flag(help: "Say what would happen; change nothing.")
    var dryRun = false

    func run() throws {
        let paths = try Console.paths(for: name, creating: !dryRun)
        if (try? GuestFinder.find(name.text)) != nil {
            Console.put("\(name) runs here already\n")
            return
        }
        do {
            if let start = try GuestStart(name, paths) {
                try prepare(start)
            } else if dryRun {
                Console.put("\(name): remusd does not know it: it may be started\n")
            }
        } catch let error as ExitCode {
            throw error
        } catch {
            throw Console.failure(
                "\(name): \(error)",
                code: error is StartError ? Exit.usage : Exit.configuration
            )
        }
        if dryRun { return }
        do {
            try XlProgram().create(configuration: config ?? "/etc/xen/\(name).cfg")
        } catch {
            throw Console.failure("\(name) cannot be started: \(error)", code: 15)
        }
        Console.put("\(name) was started here; it is not protected\n")
    }

    /// Decides and writes down.
    private func prepare(_ start: GuestStart) throws {
        var order = GuestStart.Order()
        order.peer = peer
        order.link = link.chosen
        order.confirmFenced = confirmFenced
        order.abandonsImage = abandonImage
        order.arbiter = arbiter
        let answer = try start.decide(order)
        let asked = start.generationToAskFor(answer, order)
        let generation: UInt64
        if case .start(let next) = answer.decision {
            generation = next
        } else if let asked {
            generation = asked
        } else {
            throw Console.failure("\(name): \(answer.text)", code: Self.code(answer.decision))
        }
        if dryRun {
            let text = asked == nil ? answer.text : "the other host is silent: the arbiter would be asked"
            Console.put("\(name): \(text)\n")
        } else {
            do {
                try start.record(generation, order)
            } catch let error as GuestStart.NotGranted {
                throw Console.failure("\(name): \(error)", code: error.isDenied ? 11 : Exit.tryAgain)
            }
        }
    }

    private static func code(_ decision: StartDecision) -> Int32 {
        switch decision {
        case .start: 0
        case .activeElsewhere, .splitBrain: 10
        case .notHere: 12
        case .peerSilent: 13
        case .peerNotAsked(let passes): passes ? Exit.tryAgain : Exit.configuration
        case .imageHere, .imageThere: 16
        case .tooSoon: Exit.tryAgain
        }
    }
}
