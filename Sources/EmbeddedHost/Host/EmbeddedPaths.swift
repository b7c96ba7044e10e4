/// Where an embedded guest is found on its host.
package enum EmbeddedPaths {
    /// The control socket, for `remusd protect`.
    package static func controlSocket(of name: String, in runtimeDirectory: String) -> String {
        "\(runtimeDirectory)/guest-\(name).ctl"
    }

    /// Locked as long as the guest's process lives.
    package static func lockFile(of name: String, in runtimeDirectory: String) -> String {
        "\(runtimeDirectory)/guest-\(name).lock"
    }
}
