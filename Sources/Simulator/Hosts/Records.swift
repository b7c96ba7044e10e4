import Checkpoint

/// A record as bytes: what is cut short is not taken for whole.
enum Records {
    static let primary = "primary", standby = "standby"

    /// The fields of a record; nil if there is none.
    /// - Throws: if what is there is not whole.
    private static func fields(_ bytes: [UInt8]?, _ count: Int) throws(TornRecord) -> [UInt64]? {
        guard let bytes else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        let parts = text.split(separator: " ").compactMap { UInt64($0) }
        guard text.hasSuffix(" \n"), parts.count == count else { throw TornRecord() }
        return parts
    }

    private static func bytes(_ fields: [UInt64]) -> [UInt8] {
        Array((fields.map(String.init).joined(separator: " ") + " \n").utf8)
    }

    static func bytes(_ facts: PrimaryFacts) -> [UInt8] {
        let standby = facts.standby.flatMap { UInt64($0) }.map { $0 + 1 } ?? 0
        return bytes(
            [facts.generation, standby, facts.aloneAfter.nanoseconds, facts.outdatedBy ?? 0]
                + fields(of: facts.arbiter)
        )
    }

    private static let arbiters = ["arbiter", "manual"]

    private static func fields(of facts: ArbiterFacts?) -> [UInt64] {
        guard let facts, let index = arbiters.firstIndex(of: facts.name) else { return [0, 0, 0, 0, 0, 0] }
        let wish = facts.wish
        let owner = wish.flatMap { Host.names.firstIndex(of: $0.owner) } ?? 0
        return [
            UInt64(index) + 1, facts.granted, facts.usedBefore ? 1 : 0, wish?.generation ?? 0, UInt64(owner),
            wish?.id ?? 0,
        ]
    }

    private static func arbiter(_ fields: ArraySlice<UInt64>) -> ArbiterFacts? {
        let fields = Array(fields)
        guard fields[0] > 0 else { return nil }
        let wish = GrantRecord(generation: fields[3], owner: Host.names[Int(fields[4])], id: fields[5])
        return ArbiterFacts(
            name: arbiters[Int(fields[0]) - 1],
            granted: fields[1],
            usedBefore: fields[2] == 1,
            wish: wish.id == 0 ? nil : wish
        )
    }

    static func primary(on disk: SimulatedDisk) throws(TornRecord) -> PrimaryFacts? {
        try primary(disk.read(primary))
    }

    static func primary(_ bytes: [UInt8]?) throws(TornRecord) -> PrimaryFacts? {
        guard let fields = try fields(bytes, 10) else { return nil }
        return PrimaryFacts(
            generation: fields[0],
            standby: fields[1] == 0 ? nil : String(fields[1] - 1),
            aloneAfter: TimeSpan(nanoseconds: fields[2]),
            outdatedBy: fields[3] == 0 ? nil : fields[3],
            arbiter: arbiter(fields[4...])
        )
    }

    private static let states: [StandbyFacts.State] = [.dropped, .image, .crashed, .active]

    static func bytes(_ facts: StandbyFacts) -> [UInt8] {
        let state = UInt64(states.firstIndex(of: facts.state) ?? 0)
        return bytes(
            [state, facts.generation, facts.activationID, facts.activatedFrom ?? 0]
                + fields(of: facts.arbiter)
        )
    }

    static func standby(on disk: SimulatedDisk) throws(TornRecord) -> StandbyFacts? {
        try standby(disk.read(standby))
    }

    static func standby(_ bytes: [UInt8]?) throws(TornRecord) -> StandbyFacts? {
        guard let fields = try fields(bytes, 10) else { return nil }
        return StandbyFacts(
            state: states[Int(fields[0])],
            generation: fields[1],
            activationID: fields[2],
            activatedFrom: fields[3] == 0 ? nil : fields[3],
            arbiter: arbiter(fields[4...])
        )
    }
}

/// A record that is neither the old one nor the new.
struct TornRecord: Error {}
