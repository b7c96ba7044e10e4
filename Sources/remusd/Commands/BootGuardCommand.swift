import ArgumentParser
import Checkpoint
import Daemon
import SystemSupport
import XenHost

/// `remusd boot-guard`
struct BootGuardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "boot-guard",
        abstract: "At boot, let xendomains start only those guests that run nowhere else.",
        discussion: """
            To be run after 'remusd standby' has started and before xendomains, which is to require it (systemd's Requires= and \
            After=) and to have XENDOMAINS_AUTO set to /run/remusd/auto. Links into that folder each configuration of /etc/xen/auto whose guest remusd does not know, \
            or whose guest ran here last, as the other host's standby confirms. What xendomains saved of a guest that remusd \
            knows is moved into the folder held-by-remusd: it is older than what clients saw since. One line a guest says what was decided; \
            'remusd start NAME' starts one that was held back.

            EXIT CODES
              0   done, whatever was held back
              64  the command line makes no sense
              78  a folder or this host's records cannot be used, or what was saved cannot be moved: xendomains must not be
                  started then. Without the records, all that was saved is moved away first
            """
    )

    @Option(help: ArgumentHelp("Where the configurations lie that are to be started.", valueName: "folder"))
    var from = "/etc/xen/auto"

    @Option(
        help: ArgumentHelp(
            "Where xendomains looks (default: auto in REMUSD_RUNTIME_DIR).",
            valueName: "folder"
        )
    )
    var to: String?

    @Option(
        help: ArgumentHelp("Where xendomains keeps what it saved (XENDOMAINS_SAVE).", valueName: "folder")
    )
    var saved = "/var/lib/xen/save"

    @Option(help: "How long a silent host is asked again (default: 1m).", transform: TimeSpan.argument)
    var patience: TimeSpan = .seconds(60)

    func run() throws {
        let paths: Paths
        do {
            paths = try Console.paths(creating: true)
        } catch {
            show(BootGuard.holdAll(saved: saved))
            throw error
        }
        let guardian = BootGuard(paths, from: from, to: to ?? "\(paths.runtime)/auto", saved: saved) { file in
            try XlProgram().name(configuration: file)
        }
        let entries: [BootGuard.Entry]
        do {
            entries = try guardian.run(patience: patience)
        } catch {
            throw Console.failure("\(error)", code: Exit.configuration)
        }
        show(entries)
        if entries.contains(where: \.staysSaved) {
            throw Console.failure("something saved stays in \(saved)", code: Exit.configuration)
        }
    }

    private func show(_ entries: [BootGuard.Entry]) {
        for entry in entries {
            Console.put("\(entry.guest): \(entry.starts ? "starts" : "NOT STARTED"): \(entry.reason)\n")
        }
    }
}
