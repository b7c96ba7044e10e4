import ArgumentParser
import Daemon
import SystemSupport
import Transport

/// `remusd pair list`
struct PairListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show the hosts that this one is paired with.",
        discussion: """
            EXIT CODES
              0   shown
              64  the command line makes no sense
              78  REMUSD_STATE_DIR, or a record in it, cannot be used
            """
    )

    @Option(help: "text, or json: the records as they are.")
    var output: OutputFormat = .text

    func run() throws {
        let (records, troubles) = PeerBook(try Console.paths()).records()
        switch output {
        case .json: try Console.put(json: records)
        case .text:
            for record in records {
                Console.put("\(record.host)  \(record.pin)  \(PairText.limits(record))\n")
            }
            if records.isEmpty, troubles.isEmpty { Console.note("paired with no host: 'remusd pair'") }
        }
        guard let first = troubles.first else { return }
        for trouble in troubles.dropFirst() { Console.note("Error: \(trouble)") }
        throw Console.failure("\(first)", code: Exit.configuration)
    }
}

/// `remusd pair pin`
struct PairPinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pin",
        abstract: "Show this host's key, or keep another host's.",
        discussion: """
            Without arguments: this host's name and pin. With both: keeps the pin of a host whose key somebody vouches for, \
            because it came over ssh, say:

              remusd pair pin $(ssh beta remusd pair pin)

            EXIT CODES
              0   shown, or kept
              64  the command line makes no sense
              78  REMUSD_STATE_DIR, or this host's key in it, cannot be used; or that host's record, which then needs --guest
                  or --all-guests
            """
    )

    @Argument(help: "The other host, as 'uname -n' shows it there.", transform: { try HostName($0) })
    var host: HostName?

    @Argument(help: "What 'remusd pair pin' shows there: sha256: and 64 hexadecimal digits.")
    var pin: String?

    @OptionGroup var limits: LimitOptions

    func validate() throws {
        guard (host == nil) == (pin == nil) else {
            throw ValidationError("give a host and its pin, or neither.")
        }
        if let pin, KeyPin(pin) == nil {
            throw ValidationError("'\(pin)' is not a pin: it is sha256: and 64 hexadecimal digits.")
        }
    }

    func run() throws {
        let limits = try limits.limits
        let (paths, key) = try PairKey.load()
        guard let host, let pin = pin.flatMap({ KeyPin($0) }) else {
            return Console.put("\(PrimaryIdentity.hostName) \(key.pin)\n")
        }
        try PairKey.keep(host, pin, limits, paths)
    }
}

/// `remusd pair forget`
struct PairForgetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "End the pairing with a host.",
        discussion: """
            Its next connection is refused; one that is there goes on until it ends: 'remusd unprotect' ends what it carries.

            EXIT CODES
              0   forgotten, or not known
              64  the command line makes no sense
              78  REMUSD_STATE_DIR cannot be used
            """
    )

    @Argument(help: "The other host.", transform: { try HostName($0) })
    var host: HostName

    func run() throws {
        let book = PeerBook(try Console.paths())
        do {
            guard book.hasFile(of: host) else {
                return Console.note("\(host) was not paired with this host")
            }
            try book.forget(host)
            Console.put("\(host) is forgotten\n")
        } catch {
            throw Console.failure("\(error)", code: Exit.configuration)
        }
    }
}

/// A peer's limits in words.
enum PairText {
    static func limits(_ record: PeerRecord) -> String {
        let guests = record.guests.map { "guests \($0.joined(separator: ", "))" } ?? "all guests"
        return guests + (record.notAfter.map { ", until \(Timestamp.text(seconds: Int($0)))" } ?? "")
    }
}
