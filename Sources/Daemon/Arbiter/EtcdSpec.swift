/// Where etcd is, under which keys the records lie, and how it is spoken to.
package struct EtcdSpec: Hashable, Sendable {
    /// One member's address for clients.
    package struct Endpoint: Hashable, Sendable, CustomStringConvertible {
        /// TLS (`https`), or plaintext (`http`).
        package let isSecure: Bool
        /// A name or a number; without brackets, in lower case.
        package let host: String
        package let port: UInt16

        package init(isSecure: Bool, host: String, port: UInt16) {
            self.isSecure = isSecure
            self.host = host
            self.port = port
        }

        package var description: String {
            "http\(isSecure ? "s" : "")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        }
    }

    /// The keys' first part if none is given.
    package static let defaultPrefix = "remusd"

    /// In the order in which they are tried. All secure, or none.
    package let endpoints: [Endpoint]
    /// The first part of every key, without a slash at either end.
    package let prefix: String
    /// The file of the authorities that may vouch for etcd, in PEM; nil: the system's.
    package let authorities: String?
    /// The files of this host's certificate and key, in PEM; nil: it shows none.
    package let certificate: String?, key: String?

    package init(
        endpoints: [Endpoint],
        prefix: String = defaultPrefix,
        authorities: String? = nil,
        certificate: String? = nil,
        key: String? = nil
    ) {
        self.endpoints = endpoints
        self.prefix = prefix
        self.authorities = authorities
        self.certificate = certificate
        self.key = key
    }

    /// `etcd:http://10.0.0.5:2379,http://10.0.0.6:2379/remusd`: the endpoints sorted, since their order is each host's own.
    package var name: String {
        "etcd:" + Set(endpoints.map(\.description)).sorted().joined(separator: ",") + "/\(prefix)"
    }
}
