import Checkpoint
import Transport

/// Pages: what is sent while the guest runs, and what is copied while it stands still.
extension ProtectEngine {
    /// Stages and hands over the next piece of a sync round; false if the round, or the connection, ended.
    func sendSyncPiece(_ connection: PrimaryConnection) -> Bool {
        do throws(GuestError) {
            switch try harvester.nextSyncStep() {
            case .piece(let epoch, let pages):
                meter { $0.pagesSent += pages }
                guard !harvester.bytes.isEmpty else { return true }
                tee?.append(harvester.bytes, epoch: nil, log)
                let records = harvester.records
                connection.send(harvester.bytes, epoch: epoch, endsEpoch: false, records: records)
                return true
            case .done(let pages):
                sweeps.wasSwept(pages: pages)
                dispatch(.syncRoundSent(pages: pages))
                return harvester.isSyncing
            case .wait, nil: return false
            }
        } catch {
            harvester.endSync()
            if guest.ended() == nil { dispatch(Self.event(of: error)) }
            return false
        }
    }

    /// When the guest is asked how many pages are dirty; nil: it need not be, or could not say the last time. Then it is asked again
    /// in the next epoch.
    var nextLook: Instant? { countsDirty ? machine.nextLook : nil }

    /// Asks it.
    func countDirty() {
        guard let nextLook, now >= nextLook else { return }
        guard let pages = guest.dirtyCount() else { return countsDirty = false }
        dispatch(.dirtied(pages: pages))
    }

    func harvest(_ deadline: Instant) {
        let result = harvester.harvest { now > deadline }
        if case .whole(let pages) = result {
            sweeps.wasCopied(pages: pages)
        } else {
            meter { $0.abandoned += 1 }
        }
        events.append(.harvested(result))
    }
}
