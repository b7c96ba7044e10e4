import Checkpoint
import SystemSupport

/// What a program that is an arbiter is asked, and how (docs/arbiters.md, "exec").
struct ExecContract: Encodable {
    static let schema = "remusd.grant-request/1"

    /// Its only argument.
    enum Verb: String {
        /// Shall the owner have the generation?
        case grant
        /// Whose record is there? Asks for nothing.
        case record
        /// Can you do your work? Asks for nothing.
        case check
    }

    private let schema = Self.schema
    /// A `Verb`.
    let verb: String
    private let guest: String?
    private let from: UInt64?
    private let generation: UInt64?
    private let owner: String?
    private let id: String?
    private let usedBefore: Bool?
    private let timeoutMs: UInt64

    private enum CodingKeys: String, CodingKey {
        case schema, verb, guest, from, generation, owner, id
        case usedBefore = "used_before"
        case timeoutMs = "timeout_ms"
    }

    init(_ verb: Verb, guest: GuestUUID? = nil, request: GrantRequest? = nil, until deadline: UInt64) {
        self.verb = verb.rawValue
        self.guest = (request?.guest ?? guest)?.description
        from = request?.from
        generation = request?.wanted.generation
        owner = request?.wanted.owner
        id = request.map { HexID.text($0.wanted.id) }
        usedBefore = request?.usedBefore
        let now = Clock.monotonic
        timeoutMs = deadline > now ? (deadline - now) / 1_000_000 : 0
    }

    /// Standard input: one line of JSON.
    func input() throws -> [UInt8] { try ControlJSON.encode(self) + [UInt8(ascii: "\n")] }

    /// The environment: the caller's, with the same facts as `REMUS_*`.
    func environment() -> [String] {
        let facts: [(String, String?)] = [
            ("API", "1"), ("EVENT", verb), ("UUID", guest), ("GENERATION_FROM", from.map { "\($0)" }),
            ("GENERATION", generation.map { "\($0)" }), ("OWNER", owner), ("ID", id),
            ("USED_BEFORE", usedBefore.map { $0 ? "1" : "0" }), ("TIMEOUT_MS", "\(timeoutMs)"),
        ]
        return ChildProcess.environment.filter { !$0.hasPrefix("REMUS_") }
            + facts.compactMap { name, value in value.map { "REMUS_\(name)=\($0)" } }
    }
}
