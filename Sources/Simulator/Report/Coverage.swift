import Checkpoint

/// What occurred, and how often.
package struct Coverage: Sendable {
    /// Rows by columns.
    struct Table: Sendable {
        let rows: [String], columns: [String]
        var counts: [Int]

        init<Row: RawRepresentable<String> & CaseIterable, Column: RawRepresentable<String> & CaseIterable>(
            _ rows: Row.Type,
            _ columns: Column.Type
        ) {
            self.rows = rows.allCases.map(\.rawValue)
            self.columns = columns.allCases.map(\.rawValue)
            counts = Array(repeating: 0, count: self.rows.count * self.columns.count)
        }

        subscript(row: Int, column: Int) -> Int {
            get { counts[row * columns.count + column] }
            set { counts[row * columns.count + column] = newValue }
        }
    }

    package internal(set) var events = 0
    var primary = Table(PrimaryPlace.self, PrimaryEvent.self)
    var standby = Table(StandbyPlace.self, StandbyOccasion.self)
    var writes = Table(WriteClass.self, WriteOutcome.self)
    private(set) var faults = Array(repeating: 0, count: Fault.allCases.count)
    package var faultCount: Int { faults.reduce(0, +) }

    mutating func add(_ other: Coverage) {
        events += other.events
        for index in faults.indices { faults[index] += other.faults[index] }
        for index in primary.counts.indices { primary.counts[index] += other.primary.counts[index] }
        for index in standby.counts.indices { standby.counts[index] += other.standby.counts[index] }
        for index in writes.counts.indices { writes.counts[index] += other.writes.counts[index] }
    }

    // MARK: Counting

    mutating func fault(_ fault: Fault) { faults[fault.index] += 1 }

    mutating func primary(_ machine: ProtectMachine, _ event: ProtectEvent) {
        guard !machine.finished else { return }
        primary[PrimaryPlace(machine).index, PrimaryEvent(event).index] += 1
    }

    mutating func standby(_ machine: StandbyMachine, _ event: StandbyEvent, at now: Instant) {
        standby(machine, StandbyOccasion(event, machine), at: now)
    }

    mutating func standby(_ machine: StandbyMachine, _ occasion: StandbyOccasion, at now: Instant) {
        standby[StandbyPlace(machine, at: now).index, occasion.index] += 1
    }

    mutating func written(_ what: WriteClass) { writes[what.index, WriteOutcome.done.index] += 1 }

    mutating func troubled(_ trouble: (what: WriteClass, step: DiskStep, trouble: DiskTrouble)) {
        writes[trouble.what.index, WriteOutcome(trouble.step, trouble.trouble).index] += 1
    }
}

extension CaseIterable where Self: Equatable, AllCases == [Self] {
    /// Its place among all cases.
    var index: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

// MARK: Rows and columns

/// Where a primary's machine stands.
enum PrimaryPlace: String, CaseIterable {
    case connecting, syncing, running, suspending, harvesting, cutting, resuming, inFlight
    case noLinkRunning, noLinkPausing, noLinkInFlight
    case ending, imageRefused, asking, storingAlone, alone, outdated, splitBrain

    init(_ machine: ProtectMachine) {
        let isUp = machine.link == .up
        switch machine.authority {
        case .storingAlone: self = .storingAlone
        case .alone: self = .alone
        case .outdated: self = .outdated
        case .splitBrain: self = .splitBrain
        case .normal where machine.asking != nil && !isUp: self = .asking
        case .normal where machine.ending != nil:
            self = machine.ending?.thenRetry == true ? .imageRefused : .ending
        case .normal:
            switch machine.work {
            case .idle: self = .connecting
            case .syncing: self = .syncing
            case .running: self = isUp ? .running : .noLinkRunning
            case .suspending: self = isUp ? .suspending : .noLinkPausing
            case .harvesting: self = isUp ? .harvesting : .noLinkPausing
            case .cutting: self = isUp ? .cutting : .noLinkPausing
            case .resuming: self = isUp ? .resuming : .noLinkPausing
            case .inFlight: self = isUp ? .inFlight : .noLinkInFlight
            }
        }
    }
}

/// What a primary's machine is told.
enum PrimaryEvent: String, CaseIterable {
    case start, connected, linkLost, welcome, refused, ack, beat, echo, endAnswer, syncSent, suspended
    case notSuspended, sweepWanted, advanced, harvested, notHarvested, cut, resumed, notResumed, stored,
        failed, trackingLost,
        guestEnded
    case unprotect, wishStored, granted, denied, unanswered, continued, resolved, filling, dirtied, tick

    init(_ event: ProtectEvent) {
        switch event {
        case .start: self = .start
        case .connected: self = .connected
        case .linkLost: self = .linkLost
        case .received(.welcome): self = .welcome
        case .received(.refuse): self = .refused
        case .received(.ack): self = .ack
        case .received(.heartbeat): self = .beat
        case .received(.heartbeatEcho): self = .echo
        case .received: self = .endAnswer
        case .syncRoundSent: self = .syncSent
        case .suspendFinished(.suspended, _): self = .suspended
        case .suspendFinished: self = .notSuspended
        case .sweepWanted: self = .sweepWanted
        case .epochAdvanced: self = .advanced
        case .harvested(.whole): self = .harvested
        case .harvested: self = .notHarvested
        case .cut: self = .cut
        case .resumed: self = .resumed
        case .resumeFailed: self = .notResumed
        case .generationStored: self = .stored
        case .failed: self = .failed
        case .trackingLost: self = .trackingLost
        case .guestEnded: self = .guestEnded
        case .unprotectRequested: self = .unprotect
        case .wishStored: self = .wishStored
        case .arbiterAnswered(.granted): self = .granted
        case .arbiterAnswered(.denied): self = .denied
        case .arbiterAnswered: self = .unanswered
        case .continueRequested: self = .continued
        case .resolveRequested: self = .resolved
        case .outputFilling: self = .filling
        case .dirtied: self = .dirtied
        case .tick: self = .tick
        }
    }
}

/// Where a standby's machine stands.
enum StandbyPlace: String, CaseIterable {
    case nothing, dropped, image, crashed, granted, runs
    case syncing, syncingBeside, replicating, ending

    init(_ machine: StandbyMachine, at now: Instant) {
        if machine.runsHere {
            self = .runs
        } else if machine.liveConnection != nil {
            if machine.isSyncing {
                self = machine.image == nil ? .syncing : .syncingBeside
            } else {
                self = machine.primaryIsAlive(at: now) ? .replicating : .ending
            }
        } else {
            switch machine.facts.state {
            case .dropped: self = machine.facts.generation == 0 ? .nothing : .dropped
            case .image: self = machine.image == nil ? .dropped : .image
            case .crashed: self = .crashed
            case .active: self = .granted
            }
        }
    }
}

/// What a standby's machine is told or asked.
enum StandbyOccasion: String, CaseIterable {
    case starts, helloNew, helloAgain, helloRefused, beat, echo, plannedEnd, strange, epochWhole
    case violation, failure, connectionLost, data, notListening, imageLost, tick, activateAllowed,
        activateRefused, activateAsks, activateByItself, activateForced, granted, denied, unanswered,
        activationFailed

    init(_ event: StandbyEvent, _ machine: StandbyMachine) {
        switch event {
        case .hello(let hello, _, _):
            self = hello.session == machine.image?.session ? .helloAgain : .helloNew
        case .received(.heartbeat, _): self = .beat
        case .received(.heartbeatEcho, _): self = .echo
        case .received(.plannedEnd, _): self = .plannedEnd
        case .received: self = .strange
        case .epochWhole: self = .epochWhole
        case .violation: self = .violation
        case .failure: self = .failure
        case .connectionLost: self = .connectionLost
        case .dataReceived: self = .data
        case .notListening: self = .notListening
        case .imageLost: self = .imageLost
        case .activationFailed: self = .activationFailed
        case .tick: self = .tick
        }
    }

    init(_ answer: GrantAnswer) {
        switch answer {
        case .granted: self = .granted
        case .denied: self = .denied
        case .memoryLost, .unavailable: self = .unanswered
        }
    }
}

/// How the writing of a record ended.
enum WriteOutcome: String, CaseIterable {
    case done, fails, processDies, powerCreate, powerWrite, powerSync, powerRename, powerDirectory

    init(_ step: DiskStep, _ trouble: DiskTrouble) {
        switch (trouble, step) {
        case (.fails, _): self = .fails
        case (.processDies, _): self = .processDies
        case (.powerLoss, .create): self = .powerCreate
        case (.powerLoss, .write): self = .powerWrite
        case (.powerLoss, .sync): self = .powerSync
        case (.powerLoss, .rename): self = .powerRename
        case (.powerLoss, .syncDirectory): self = .powerDirectory
        }
    }
}
