import ArgumentParser
import Checkpoint
import Daemon

/// `remusd arbiter`: who gives grants.
struct ArbiterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "arbiter",
        abstract: "Prepare, try out and read an arbiter.",
        discussion: """
            An arbiter is named etcd:http://HOST:2379[,http://HOST:2379...][/PREFIX][?ca=FILE&cert=FILE&key=FILE], file:/DIR, \
            exec:/PROGRAM, manual or prefer-primary. docs/arbiters.md says which is for what.
            """,
        subcommands: [ArbiterShow.self, ArbiterInit.self, ArbiterCheckCommand.self, ArbiterAsk.self]
    )
}

/// `remusd arbiter show`
struct ArbiterShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a guest's record: who was granted which generation.",
        discussion: """
            Asks for nothing. --output json prints an object with the schema remusd.arbiter/1: schema, arbiter, guest, \
            record {generation, owner, id}, which is null where the arbiter has none.

            EXIT CODES
              0   shown (also when there is no record)
              64  the command line makes no sense
              69  no record on this host names the guest: give its UUID
              75  the arbiter does not answer, or what it says cannot be used
              78  REMUSD_RUNTIME_DIR or REMUSD_STATE_DIR, or a record there, cannot be used
            """
    )

    @Argument(help: ArgumentHelp("The guest's UUID, or its name.", valueName: "guest"))
    var guest: String

    @Option(help: "The arbiter.", transform: ArbiterSpec.argument)
    var arbiter: ArbiterSpec

    @Option(help: "How long to wait at most (default: 10s).", transform: TimeSpan.argument)
    var timeout: TimeSpan = .seconds(10)

    @Option(help: "text or json.")
    var output: OutputFormat = .text

    func run() throws {
        let uuid: GuestUUID?
        do {
            uuid = try KnownGuest.uuid(guest) { try Console.paths() }
        } catch let error as ValueError {
            throw ValidationError("\(error)")
        } catch let error as RecordError {
            throw Console.failure("\(error)", code: Exit.configuration)
        }
        guard let uuid else {
            throw Console.failure(
                "no record on this host names \(guest); give its UUID",
                code: Exit.unavailable
            )
        }
        guard let asked = makeArbiter(arbiter) else {
            throw ValidationError("\(arbiter) keeps no record")
        }
        let record: GrantRecord?
        do {
            record = try asked.record(of: uuid, deadline: timeout)
        } catch {
            throw Console.failure("\(error)", code: Exit.tryAgain)
        }
        if output == .json {
            try Console.put(json: ArbiterShowing(arbiter, uuid, record))
        } else if let record {
            let id = HexID.text(record.id)
            Console.put("\(uuid): generation \(record.generation), granted to \(record.owner) (\(id))\n")
        } else {
            Console.put("\(uuid): no record; nothing was ever granted, or it is lost\n")
        }
    }
}

/// `remusd arbiter init`
struct ArbiterInit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Prepare an arbiter: once, on one host, before its first use.",
        discussion: """
            Puts a marker into the directory of a file: arbiter, by which both hosts know that the storage is mounted, and the \
            same. Repeating it is harmless. The other arbiters need no preparation.

            EXIT CODES
              0   prepared (also if it was already)
              64  the command line makes no sense
              73  the marker cannot be written
              75  the storage does not answer
            """
    )

    @Argument(help: "The arbiter.", transform: ArbiterSpec.argument)
    var arbiter: ArbiterSpec

    @Option(help: "How long to wait at most (default: 10s).", transform: TimeSpan.argument)
    var timeout: TimeSpan = .seconds(10)

    func run() throws {
        guard case .file(let path) = arbiter else {
            Console.put("\(arbiter) needs no preparation\n")
            return
        }
        switch ArbiterPreparation.run(path, deadline: timeout) {
        case .done(let marker, let isNew):
            Console.put("\(path) is prepared\(isNew ? "" : " already"): storage \(marker.id)\n")
        case .failed(let reason): throw Console.failure(reason, code: Exit.cannotCreate)
        case .late(let reason): throw Console.failure(reason, code: Exit.tryAgain)
        }
    }
}

/// `remusd arbiter check`
struct ArbiterCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Try an arbiter out, and take the times.",
        discussion: """
            Under the UUID of a guest that does not exist: reads, is granted, asks again, is refused, swaps, and removes what it \
            made. Of an exec: arbiter it asks only 'check', because a grant may fence somebody. Run it on both hosts: what it \
            says after "identity" must be the same.

            --output json prints an object with the schema remusd.arbiter-check/1: schema, arbiter, outcome (works, unavailable, \
            wrong), identity, steps[] {name, took_us, and problem where there is one}, notes[].

            EXIT CODES
              0   it works
              64  the command line makes no sense
              70  it answers, and wrongly: do not use it
              75  it does not answer in time
            """
    )

    @Argument(help: "The arbiter.", transform: ArbiterSpec.argument)
    var arbiter: ArbiterSpec

    @Option(help: "How long to wait at most, for each step (default: 5s).", transform: TimeSpan.argument)
    var timeout: TimeSpan = .seconds(5)

    @Option(help: "text or json.")
    var output: OutputFormat = .text

    func run() throws {
        let check = ArbiterProbe.check(arbiter, deadline: timeout)
        if output == .json {
            try Console.put(json: check)
        } else {
            show(check)
        }
        switch check.outcome {
        case .works: break
        case .wrong: throw ExitCode(70)
        case .unavailable: throw ExitCode(Exit.tryAgain)
        }
    }

    private func show(_ check: ArbiterCheck) {
        Console.put("\(check.arbiter)\n")
        if let identity = check.identity { Console.put("  identity      \(identity)\n") }
        for step in check.steps {
            let name = step.name + String(repeating: " ", count: max(1, 14 - step.name.count))
            let time = TimeSpan.microseconds(step.microseconds).rounded
            Console.put("  \(name)\(time)\(step.problem.map { "  ! \($0)" } ?? "")\n")
        }
        for note in check.notes { Console.note("Note: \(note)") }
        switch check.outcome {
        case .works: if !check.steps.isEmpty { Console.put("works\n") }
        case .unavailable: Console.note("Error: it does not answer")
        case .wrong: Console.note("Error: it answers, and wrongly: do not use it")
        }
    }
}

/// `remusd arbiter ask`: for tests of an arbiter from several processes.
struct ArbiterAsk: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ask",
        abstract: "Ask for a grant.",
        discussion: """
            Never for a guest that is protected. Prints granted, denied, memory-lost or unavailable.

            EXIT CODES
              0   granted
              11  denied
              64  the command line makes no sense
              75  no answer that counts
            """,
        shouldDisplay: false
    )

    @Argument(help: "The arbiter.", transform: ArbiterSpec.argument)
    var arbiter: ArbiterSpec

    @Option(help: "The guest's UUID.")
    var guest: String

    @Option(help: "The asker's generation; wanted is the next.")
    var from: UInt64

    @Option(help: "The asker's host name.")
    var owner: String

    @Option(help: "16 hexadecimal digits.")
    var id: String

    @Flag(help: "The arbiter has kept a record before.")
    var usedBefore = false

    @Option(help: "How long to wait at most (default: 10s).", transform: TimeSpan.argument)
    var timeout: TimeSpan = .seconds(10)

    func run() throws {
        guard let uuid = GuestUUID(guest), let number = HexID.parse(id), from < .max,
            let asked = makeArbiter(arbiter)
        else { throw ValidationError("needs a UUID, 16 hexadecimal digits, and an arbiter.") }
        let wanted = GrantRecord(generation: from + 1, owner: owner, id: number)
        let request = GrantRequest(guest: uuid, from: from, wanted: wanted, usedBefore: usedBefore)
        switch asked.ask(request, deadline: timeout) {
        case .granted(let record): Console.put("granted \(HexID.text(record.id))\n")
        case .denied(let record):
            Console.put("denied \(HexID.text(record.id)) \(record.owner)\n")
            throw ExitCode(11)
        case .memoryLost:
            Console.put("memory-lost\n")
            throw ExitCode(Exit.tryAgain)
        case .unavailable(let reason):
            Console.put("unavailable\n")
            throw Console.failure(reason, code: Exit.tryAgain)
        }
    }
}
