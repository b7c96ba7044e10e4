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

    private static func bytes(_ fields: UInt64...) -> [UInt8] {
        Array((fields.map(String.init).joined(separator: " ") + " \n").utf8)
    }

    static func bytes(_ facts: PrimaryFacts) -> [UInt8] {
        let standby = facts.standby.flatMap { UInt64($0) }.map { $0 + 1 } ?? 0
        return bytes(facts.generation, standby, facts.aloneAfter.nanoseconds, facts.outdatedBy ?? 0)
    }

    static func primary(on disk: SimulatedDisk) throws(TornRecord) -> PrimaryFacts? {
        guard let fields = try fields(disk.read(primary), 4) else { return nil }
        return PrimaryFacts(
            generation: fields[0],
            standby: fields[1] == 0 ? nil : String(fields[1] - 1),
            aloneAfter: TimeSpan(nanoseconds: fields[2]),
            outdatedBy: fields[3] == 0 ? nil : fields[3]
        )
    }

    private static let states: [StandbyFacts.State] = [.dropped, .image, .crashed, .active]

    static func bytes(_ facts: StandbyFacts) -> [UInt8] {
        let state = UInt64(states.firstIndex(of: facts.state) ?? 0)
        return bytes(state, facts.generation, facts.activationID, facts.activatedFrom ?? 0)
    }

    static func standby(on disk: SimulatedDisk) throws(TornRecord) -> StandbyFacts? {
        try standby(disk.read(standby))
    }

    static func standby(_ bytes: [UInt8]?) throws(TornRecord) -> StandbyFacts? {
        guard let fields = try fields(bytes, 4) else { return nil }
        return StandbyFacts(
            state: states[Int(fields[0])],
            generation: fields[1],
            activationID: fields[2],
            activatedFrom: fields[3] == 0 ? nil : fields[3]
        )
    }
}

/// A record that is neither the old one nor the new.
struct TornRecord: Error {}
