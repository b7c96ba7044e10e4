import Checkpoint
import Logging
import SystemSupport

/// The machine's reports in words.
enum ProtectReporting {
    /// - Parameters:
    ///   - failure: what a lost link was judged to be.
    ///   - isNews: that is another kind of loss than the one before.
    static func log(
        _ report: ProtectReport,
        _ options: ProtectOptions,
        _ log: Logger,
        failure: LinkFailure? = nil,
        isNews: Bool = true
    ) {
        let standby = options.standby
        switch report {
        case .linkUp(let host):
            log.info("connected to the standby", metadata: ["peer": "\(standby)", "host": "\(host)"])
        case .linkLost(let loss):
            var level = isNews ? Logger.Level.warning : .debug
            // What the standby itself says is news by its words.
            if case .refused = loss { level = .warning }
            log.log(
                level: level,
                "no standby: \(LinkFailure.text(failure, of: "the standby", loss.text))",
                metadata: ["peer": "\(standby)", "link_failure": "\(failure?.rawValue ?? "-")"]
            )
        case .syncStarted: log.info("initial sync started; the guest is not protected yet")
        case .protected where options.xlPeer != nil:
            log.warning("NOT PROTECTED: the other side's xl has the guest, and acknowledges nothing")
        case .protected: log.notice("protected")
        case .checkpointAbandoned(let epoch, let reason):
            log.warning("checkpoint abandoned, the guest runs on: \(reason)", metadata: ["epoch": "\(epoch)"])
        case .suspendRefused: log.warning("the guest does not suspend; its output stays held")
        case .operationFailed(let reason): log.error("\(reason)")
        case .trackingLost(let reason):
            log.error("all of memory is sent again, output stays held meanwhile: \(reason)")
        case .wentAlone(let generation):
            log.critical(
                "UNPROTECTED: nobody answered, the guest goes on alone; the standby's image is outdated",
                metadata: ["generation": "\(generation)"]
            )
        case .imageDropped: log.warning("UNPROTECTED: the standby has no image; output goes out at once")
        case .outdated(let generation):
            log.critical(
                "OUTDATED: this copy may no longer run, the guest is active elsewhere; its output is dropped",
                metadata: ["generation": "\(generation)"]
            )
        case .arbiterDenied(let record):
            log.critical(
                "the arbiter granted the guest to somebody else",
                metadata: ["owner": "\(record.owner)", "generation": "\(record.generation)"]
            )
        case .arbiterUnanswered(let reason):
            log.error("the arbiter grants nothing, and is asked again; what is held stays held: \(reason)")
        case .splitBrain(let generation):
            log.critical(
                "SPLIT BRAIN: the guest runs here alone and is active at the standby too; nothing was stopped",
                metadata: ["generation": "\(generation)"]
            )
        }
    }

    /// How a protection ended, for people.
    static func text(_ result: ProtectResult, generation: UInt64) -> String {
        switch result {
        case .ended(let reason, .dropped):
            "\(words(reason)); the standby dropped its image at generation \(generation + 1)"
        case .ended(let reason, .kept): "\(words(reason)); the standby keeps its image for remusd activate"
        case .nothingToDrop(let reason): "\(words(reason)); the standby had no image that could be activated"
        case .outdated(let reason):
            "\(words(reason)); the guest is active elsewhere, and what this outdated copy says stays dropped: stop it"
        case .unanswered(.crashed):
            "the guest crashed and the standby does not answer; its image there is the newest: remusd activate"
        case .unanswered(let reason):
            "\(words(reason)); the standby does not answer, its image is outdated by generation \(generation)"
        case .denied(let record):
            "\(record.grantText): if the guest is over there, for good, "
                + "protect it with --if-generation \(record.generation)"
        case .noGrant(let reason):
            "the arbiter granted nothing, so nothing was begun: \(reason)"
        case .refused(let refusal): "the standby refused: \(refusal.text)"
        case .failed(let reason): reason
        }
    }

    private static func words(_ reason: PlannedEndReason) -> String {
        switch reason {
        case .unprotect: "unprotected"
        case .shutdown: "the guest shut down"
        case .reboot: "the guest rebooted"
        case .crashed: "the guest crashed"
        case .continueAlone: "the guest goes on alone"
        }
    }
}
