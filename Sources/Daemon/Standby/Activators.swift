import Checkpoint
import EmbeddedHost
import FoundationEssentials

/// Every kind of host that this daemon can start a guest on; each guest goes to its own kind.
///
/// A guest of the embedded host says so in its configuration (`"remusd": {"host": "embedded"}`), and its state holds
/// registers that only that host writes. Every other guest is Xen's.
package struct Activators: GuestActivator {
    private let embedded: any GuestActivator
    private let xen: any GuestActivator

    package init(embedded: any GuestActivator, xen: any GuestActivator) {
        self.embedded = embedded
        self.xen = xen
    }

    private struct Mark: Decodable {
        struct Remusd: Decodable { var host: String }
        var remusd: Remusd
    }

    /// Whether a configuration is of a guest of the embedded host.
    package static func isEmbedded(config: [UInt8]) -> Bool {
        let mark = try? JSONDecoder().decode(Mark.self, from: Data(config.prefix { $0 != 0 }))
        return mark?.remusd.host == "embedded"
    }

    private func activator(for request: ActivationRequest) -> any GuestActivator {
        let isEmbedded =
            Self.isEmbedded(config: request.description.config)
            || GuestRegisters.find(inStateRecords: request.stateRecords) != nil
        return isEmbedded ? embedded : xen
    }

    package func runningGuest(
        named name: String,
        uuid: GuestUUID,
        unfinished: UnfinishedStart?
    ) -> ActivatedGuest? {
        embedded.runningGuest(named: name, uuid: uuid, unfinished: unfinished)
            ?? xen.runningGuest(named: name, uuid: uuid, unfinished: unfinished)
    }

    package func outlook(for description: GuestDescription) -> ActivationOutlook {
        let activator = Self.isEmbedded(config: description.config) ? embedded : xen
        return activator.outlook(for: description)
    }

    package func missingResources(for request: ActivationRequest) -> [String] {
        activator(for: request).missingResources(for: request)
    }

    package func begin(_ request: ActivationRequest) -> (any BegunStart)? {
        activator(for: request).begin(request)
    }

    package func start(_ request: ActivationRequest) throws(GuestError) -> ActivatedGuest {
        try activator(for: request).start(request)
    }
}
