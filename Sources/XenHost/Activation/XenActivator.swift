import Checkpoint
import Glibc
import Synchronization
import SystemSupport

/// Starts an image as a Xen guest, cold: the image goes, as one plain xl image, into `xl restore -p` with a configuration
/// made from the standby's own template; the paused domain is then let run.
package final class XenActivator: GuestActivator {
    private let xl: XlProgram
    private let host: any XenDomains
    private let templates: String
    private let runtimeDirectory: String
    private let devices: String
    private let vifScript: VifScriptLink?
    /// Guests of which a start with that failed: the next one goes without.
    private let plain = Mutex<Set<String>>([])
    /// What xl made of an effective configuration, by guest: reading one takes xl a while, and a failover should not wait.
    private let read = Mutex<[String: (text: [UInt8], json: [UInt8])]>([:])

    /// - Parameters:
    ///   - templates: the folder of the standby's own configurations, each `NAME.cfg`.
    ///   - runtimeDirectory: where the effective configurations are put.
    ///   - devices: the folder that has an entry for each network device of this host (sysfs, class/net).
    ///   - vifScript: this program as the script of network cards; nil to leave them all to Xen's own.
    package init(
        templates: String,
        runtimeDirectory: String,
        xl: XlProgram = XlProgram(),
        host: any XenDomains = LibxlDomains(),
        devices: String = "/sys/class/net",
        vifScript: VifScriptLink? = nil
    ) {
        self.templates = templates
        self.runtimeDirectory = runtimeDirectory
        self.xl = xl
        self.host = host
        self.devices = devices
        self.vifScript = vifScript
    }

    /// Whether this host runs under Xen.
    package var isXen: Bool { host.whyNot == nil }

    // MARK: What is there

    package func runningGuest(
        named name: String,
        uuid: GuestUUID,
        unfinished: UnfinishedStart?
    ) -> ActivatedGuest? {
        guard host.whyNot == nil, let domain = try? host.domain(uuid), domain.lives else { return nil }
        if domain.isPaused {
            switch unfinished {
            case .notYetRun:
                // Half-made, or made and never let run: the image is the guest.
                try? xl.destroy(domain.domid)
                return nil
            case .mayHaveRun: try? xl.unpause(domain.domid)
            case nil: break
            }
        }
        return ActivatedGuest(address: "", guest: XenDomain(uuid, host))
    }

    // MARK: What is missing

    package func outlook(for description: GuestDescription) -> ActivationOutlook {
        var outlook = ActivationOutlook()
        if xl.path == nil {
            outlook.obstacles.append("this host has no xl: install Xen's tools (xen-utils)")
        }
        if let reason = host.whyNot { outlook.obstacles.append(reason) }
        guard outlook.obstacles.isEmpty else { return outlook }
        do {
            let (json, path) = try configuration(description)
            guard let template = DomainConfiguration(json: json) else {
                throw GuestError(
                    guest: description.name,
                    reason: "what xl makes of \(path) is not understood"
                )
            }
            guard let primary = DomainConfiguration(json: description.config) else {
                throw GuestError(
                    guest: description.name,
                    reason: "its configuration, as the primary sent it, is not libxl's"
                )
            }
            outlook.obstacles += TemplateCheck(primary: primary, template: template, path: path).mismatches
            outlook.obstacles += missingBridges(template).map {
                "\(path) names the bridge \($0), and this host has none"
            }
            let needed = try host.neededMemory(json) * 1024
            let free = try host.freeMemory() * 1024
            outlook.neededBytes = needed
            outlook.freeBytes = free
            if needed > free {
                outlook.obstacles.append(
                    "it takes \(needed >> 20) MiB of this host's memory and \(free >> 20) MiB are free"
                )
            }
        } catch let error as GuestError {
            outlook.obstacles.append(error.reason)
        } catch {
            outlook.obstacles.append("\(error)")
        }
        return outlook
    }

    /// Known now, not when a script fails at the end of a build (xl-network-configuration(5), bridge; an Open vSwitch bridge
    /// may have VLANs behind a dot or a colon).
    private func missingBridges(_ template: DomainConfiguration) -> [String] {
        Set(template.interfaces.compactMap(\.bridge)).sorted().filter { bridge in
            ![bridge, String(bridge.prefix { $0 != "." && $0 != ":" })].contains {
                access("\(devices)/\($0)", F_OK) == 0
            }
        }
    }

    package func missingResources(for request: ActivationRequest) -> [String] {
        if let prepared = request.prepared {
            return prepared.isGone ? ["its warm image is lost: \(prepared.reason)"] : []
        }
        var missing = outlook(for: request.description).obstacles
        if request.address != nil {
            missing.append(
                "--listen is for guests of the embedded host: a Xen guest keeps the address that it has"
            )
        }
        let description = request.description
        if let domain = try? host.domain(description.uuid) {
            missing.append("domain \(domain.domid) with this guest's UUID is here already")
        } else if let domid = host.domid(named: description.name) {
            missing.append("domain \(domid) is named \(description.name) already")
        }
        return missing
    }

    /// Writes the effective configuration and has xl read it.
    /// - Returns: it in libxl's JSON form, and the template's path.
    private func configuration(
        _ description: GuestDescription
    ) throws -> (json: [UInt8], template: String) {
        let template = try GuestTemplate(of: description.name, in: templates)
        let text = template.effective(name: description.name, uuid: description.uuid)
        let known = read.withLock { $0[description.name] }
        let file = effectivePath(description.name)
        if let known, known.text == text, access(file, R_OK) == 0 { return (known.json, template.path) }
        try SmallFile.replace(file, with: text)
        do {
            let json = try xl.read(configuration: file)
            read.withLock { $0[description.name] = (text, json) }
            return (json, template.path)
        } catch {
            throw GuestError(guest: description.name, reason: "xl cannot read \(template.path): \(error)")
        }
    }

    private func effectivePath(_ name: String) -> String { "\(runtimeDirectory)/effective-\(name).cfg" }

    // MARK: Warm

    /// Begins a domain of the guest that is fed epoch by epoch, in a helper process that outlives this one.
    /// - Parameter executable: the `remusd` to run as the helper.
    /// - Throws: if it could not be started here, above all for want of memory.
    package func prepare(
        _ description: GuestDescription,
        executable: String = ChildProcess.ownPath
    ) throws(GuestError) -> WarmGuest {
        let path = warmPath(description.name)
        // One that an earlier session, or daemon, left: its memory is needed now.
        if access(path, F_OK) == 0 { (try? warmGuest(description.name))?.drop() }
        let obstacles = outlook(for: description).obstacles
        guard obstacles.isEmpty else {
            throw GuestError(
                guest: description.name,
                reason: "it cannot be kept warm here: " + obstacles.joined(separator: "; ")
            )
        }
        do {
            let (json, _) = try configuration(description)
            let file = "\(runtimeDirectory)/effective-\(description.name).json"
            try SmallFile.replace(file, with: vifScript?.given(to: json) ?? json)
            try startHelper(description.name, json: file, socket: path, executable)
        } catch let error as GuestError {
            throw error
        } catch {
            throw GuestError(guest: description.name, reason: "its warm helper cannot be started: \(error)")
        }
        return try connect(description.name, milliseconds: 10_000)
    }

    private func startHelper(
        _ name: String,
        json: String,
        socket: String,
        _ executable: String
    ) throws {
        let raw = open(
            "\(runtimeDirectory)/warm-\(name).log",
            O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
            0o600
        )
        guard raw >= 0 else { throw SystemError("write the warm helper's log") }
        let arguments = [
            "warm-helper", name, "--socket", socket, "--configuration", effectivePath(name), "--json", json,
        ]
        let pid = try ChildProcess.spawnDetached(executable, arguments, errors: Descriptor(owning: raw))
        ChildProcess.reapWhenEnded(pid)
    }

    /// The helper that an earlier daemon left for this guest.
    package func warmGuest(_ name: String) throws(GuestError) -> WarmGuest {
        do throws(GuestError) {
            return try connect(name, milliseconds: 0)
        } catch {
            clearIncoming(name)
            throw error
        }
    }

    private func connect(_ name: String, milliseconds: UInt64) throws(GuestError) -> WarmGuest {
        try WarmGuest.connect(to: warmPath(name), guest: name, milliseconds: milliseconds) { [self] in
            clearIncoming(name)
        }
    }

    /// Removes what a warm helper left that died: its domain, which never ran.
    private func clearIncoming(_ name: String) {
        guard let domid = host.domid(named: LibxlBuilder.incomingName(name)),
            let domain = try? host.domains().first(where: { $0.domid == domid }),
            domain.isPaused || !domain.lives
        else { return }
        try? xl.destroy(domid)
    }

    private func warmPath(_ name: String) -> String { "\(runtimeDirectory)/warm-\(name).sock" }

    // MARK: Start

    package func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest {
        let description = request.description
        if let prepared = request.prepared {
            // The domain was begun long ago.
            try? vifScript?.install()
            try prepared.run(willRun: request.willRun)
            return activated(description)
        }
        do {
            let (json, _) = try configuration(description)
            // Only libxl's form of a configuration can be given a script: it goes within the image.
            let isPlain = plain.withLock { !$0.insert(description.name).inserted }
            let config = isPlain ? nil : vifScript?.given(to: json)
            try xl.restore(configuration: config == nil ? effectivePath(description.name) : nil) { sink in
                try request.writePlainImage(config, sink)
            }
            guard let domain = try host.domain(description.uuid) else {
                throw XenError("xl restored the guest, and no domain has its UUID")
            }
            request.willRun()
            try release(domain)
            plain.withLock { _ = $0.remove(description.name) }
        } catch {
            removeRemains(of: description.uuid)
            throw error as? GuestError ?? GuestError(guest: description.name, reason: "\(error)")
        }
        return activated(description)
    }

    private func activated(_ description: GuestDescription) -> ActivatedGuest {
        let json = (try? configuration(description))?.json ?? []
        let domid = (try? host.domain(description.uuid))?.domid ?? 0
        return ActivatedGuest(
            address: description.address,
            guest: XenDomain(description.uuid, host),
            interfaces: DomainConfiguration(json: json)?.interfaces(of: domid) ?? []
        )
    }

    /// Lets a restored domain run. Whether it does is what Xen says, not what xl says.
    private func release(_ domain: DomainState) throws(XenError) {
        do {
            try xl.unpause(domain.domid)
        } catch {
            guard let now = try host.domain(domain.uuid), !now.isPaused else { throw error }
        }
    }

    /// Nothing half-made stays after a start that failed: a domain of the guest that never ran is destroyed.
    private func removeRemains(of uuid: GuestUUID) {
        guard let domain = try? host.domain(uuid), domain.isPaused || !domain.lives else { return }
        try? xl.destroy(domain.domid)
    }
}

/// A domain of the guest, as Xen sees it: not by its number, which changes when the guest reboots.
final class XenDomain: RunningGuest {
    /// A guest that reboots has no domain, or a stopped one, for this long. Nanoseconds.
    private static let rebootTime: UInt64 = 10_000_000_000

    private let uuid: GuestUUID
    private let host: any XenDomains
    /// Since when no domain of it lives.
    private let absentSince = Mutex<UInt64?>(nil)

    init(_ uuid: GuestUUID, _ host: any XenDomains) {
        self.uuid = uuid
        self.host = host
    }

    var hasEnded: Bool {
        // What cannot be told is no end.
        guard let domains = try? host.domains() else { return false }
        let lives = domains.contains { $0.uuid == uuid && $0.lives }
        return absentSince.withLock { since in
            if lives {
                since = nil
                return false
            }
            let now = Clock.monotonic
            let began = since ?? now
            since = began
            return now - began > Self.rebootTime
        }
    }
}
