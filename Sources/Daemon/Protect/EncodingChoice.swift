/// How pages go to the standby, as far as it takes them: `--encoding`, or the environment's REMUSD_ENCODING.
package enum EncodingChoice: String, EnvironmentChoice {
    /// As they are.
    case plain
    /// What differs from what was sent last, LZ4, zeros by name (docs/protocol.md, "Page encodings").
    case delta

    package static let variable = "REMUSD_ENCODING"
}
