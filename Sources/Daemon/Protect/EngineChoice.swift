/// Who reads a Xen guest's memory and state: `--engine`, or the environment's REMUSD_ENGINE.
package enum EngineChoice: String, EnvironmentChoice {
    /// remusd itself.
    case native
    /// Xen's own sender, `xc_domain_save` of libxenguest.
    case libxenguest

    package static let variable = "REMUSD_ENGINE"
}
