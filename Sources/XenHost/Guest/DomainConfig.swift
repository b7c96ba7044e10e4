import Checkpoint

/// A guest's configuration as libxl prints it.
///
/// From `xl list -l`, which asks libxl for what is true now (libxl_retrieve_domain_configuration), as `xl save` does: disks and
/// cards that were added since, and the memory it has. libxl's own file under /var/lib/xen is what it began with.
package enum DomainConfig {
    /// Asks xl for the configuration of a domain: JSON, without the domid, which another host must choose anew.
    package static func current(_ guest: FoundGuest) throws(GuestError) -> [UInt8] {
        let output: [UInt8]
        do throws(XenError) {
            output = try XlProgram().describe(guest.domain)
        } catch {
            throw GuestError(guest: guest.name, reason: "its configuration cannot be asked for: \(error)")
        }
        guard let config = extract(output) else {
            let said = String(decoding: output.prefix(200), as: UTF8.self)
            throw GuestError(
                guest: guest.name,
                reason: "xl list -l \(guest.domain) shows no configuration: \(said)"
            )
        }
        return config
    }

    /// Takes the `config` object out of what `xl list -l` prints, without the `domid` in its `c_info` and without this program as the
    /// script of a network card.
    package static func extract(_ text: [UInt8]) -> [UInt8]? {
        guard case .array(let domains) = JSONValue(text), var config = domains.first?["config"],
            case .object = config
        else { return nil }
        config["c_info"]?["domid"] = nil
        VifScriptLink.remove(from: &config)
        return config.text
    }
}
