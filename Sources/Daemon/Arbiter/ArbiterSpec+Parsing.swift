extension ArbiterSpec {
    /// Parses what `--arbiter` says: `etcd:http://HOST:2379[,http://HOST:2379...][/PREFIX][?ca=FILE&cert=FILE&key=FILE]`,
    /// `file:/DIR`, `exec:/PROGRAM`, `manual` or `prefer-primary`.
    /// - Throws: `ValueError`, which says what is wrong and what a right one looks like.
    package init(parsing text: String) throws(ValueError) {
        switch text {
        case "prefer-primary": self = .preferPrimary
        case "manual": self = .manual
        case _ where text.hasPrefix("file:"): self = .file(path: try Self.path(text, after: "file:"))
        case _ where text.hasPrefix("exec:"): self = .exec(path: try Self.path(text, after: "exec:"))
        case _ where text.hasPrefix("etcd:"): self = .etcd(try EtcdSpec(parsing: text))
        default:
            throw refusal(
                text,
                "write etcd:http://HOST:2379, file:/DIR, exec:/PROGRAM, manual or prefer-primary"
            )
        }
    }

    /// The path after `kind`, in its shortest form.
    private static func path(_ text: String, after kind: String) throws(ValueError) -> String {
        let path = text.dropFirst(kind.count)
        let parts = path.split(separator: "/")
        guard path.hasPrefix("/"), !parts.isEmpty else {
            throw refusal(text, "write an absolute path, like \(kind)/srv/remusd")
        }
        guard !parts.contains(where: { $0 == "." || $0 == ".." || $0.contains("\0") }) else {
            throw refusal(text, "write the path without . and .., so that both hosts' can be compared")
        }
        return "/" + parts.joined(separator: "/")
    }
}

extension EtcdSpec {
    private static let example = "like etcd:http://10.0.0.5:2379,http://10.0.0.6:2379/remusd"

    /// Parses `etcd:URL[,URL...][/PREFIX][?ca=FILE&cert=FILE&key=FILE]`.
    fileprivate init(parsing text: String) throws(ValueError) {
        let halves = text.dropFirst("etcd:".count).split(
            separator: "?",
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        let urls = halves[0].split(separator: ",", omittingEmptySubsequences: false)
        var endpoints: [Endpoint] = []
        var prefix = Self.defaultPrefix
        for (index, url) in urls.enumerated() {
            let (endpoint, path) = try Self.endpoint(url, of: text)
            if let path {
                guard index == urls.count - 1 else {
                    throw refusal(text, "write the prefix once, after the last address, \(Self.example)")
                }
                prefix = try Self.checked(prefix: path, of: text)
            }
            if !endpoints.contains(endpoint) { endpoints.append(endpoint) }
        }
        guard Set(endpoints.map(\.isSecure)).count == 1 else {
            throw refusal(text, "use https for all addresses, or for none")
        }
        let files = try Self.files(halves.count > 1 ? halves[1] : nil, of: text)
        guard files.isEmpty || endpoints[0].isSecure else {
            throw refusal(text, "ca, cert and key are for https addresses")
        }
        guard (files["cert"] == nil) == (files["key"] == nil) else {
            throw refusal(text, "cert and key belong together")
        }
        self.init(
            endpoints: endpoints,
            prefix: prefix,
            authorities: files["ca"],
            certificate: files["cert"],
            key: files["key"]
        )
    }

    /// `http://HOST[:PORT][/PATH]`, split.
    private static func endpoint(
        _ url: Substring,
        of text: String
    ) throws(ValueError) -> (Endpoint, path: Substring?) {
        let schemes = [("http://", false), ("https://", true)]
        guard let (scheme, isSecure) = schemes.first(where: { url.hasPrefix($0.0) }) else {
            throw refusal(text, "begin each address with http:// or https://, \(example)")
        }
        let rest = url.dropFirst(scheme.count)
        let slash = rest.firstIndex(of: "/")
        let authority = rest[..<(slash ?? rest.endIndex)]
        let path = slash.map { rest[rest.index(after: $0)...] }
        guard let (host, port) = split(authority) else {
            throw refusal(text, "'\(authority)' is no HOST:PORT; write it \(example)")
        }
        return (Endpoint(isSecure: isSecure, host: host.lowercased(), port: port), path)
    }

    /// `HOST[:PORT]`, `[IPV6][:PORT]`; the port is etcd's own where there is none.
    private static func split(_ authority: Substring) -> (host: Substring, port: UInt16)? {
        var host = authority
        var port: Substring = "2379"
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            host = authority[authority.index(after: authority.startIndex)..<end]
            let rest = authority[authority.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
            if !rest.isEmpty { port = rest.dropFirst() }
            guard host.contains(":"), host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }) else {
                return nil
            }
        } else {
            if let colon = authority.firstIndex(of: ":") {
                host = authority[..<colon]
                port = authority[authority.index(after: colon)...]
            }
            let isName = host.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
            guard isName, !host.isEmpty else { return nil }
        }
        guard let number = WholeNumber.parse(port), let port16 = UInt16(exactly: number), port16 > 0 else {
            return nil
        }
        return (host, port16)
    }

    private static func checked(prefix: Substring, of text: String) throws(ValueError) -> String {
        let parts = prefix.split(separator: "/")
        let isPlain = parts.joined().utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"):
                true
            default: false
            }
        }
        guard isPlain else { throw refusal(text, "use letters, digits and - . _ / for the prefix") }
        return parts.isEmpty ? defaultPrefix : parts.joined(separator: "/")
    }

    /// The files that the part after `?` names.
    private static func files(_ query: Substring?, of text: String) throws(ValueError) -> [String: String] {
        var files: [String: String] = [:]
        for item in query?.split(separator: "&", omittingEmptySubsequences: false) ?? [] {
            let pair = item.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, ["ca", "cert", "key"].contains(pair[0]), pair[1].hasPrefix("/") else {
                throw refusal(text, "after ? come ca=/FILE, cert=/FILE and key=/FILE, joined by &")
            }
            guard files.updateValue(String(pair[1]), forKey: String(pair[0])) == nil else {
                throw refusal(text, "'\(pair[0])' is there twice")
            }
        }
        return files
    }
}

/// A spec that is not one.
private func refusal(_ text: String, _ rightForm: String) -> ValueError {
    ValueError(kind: "arbiter", text: text, rightForm: rightForm)
}
