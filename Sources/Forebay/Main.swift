internal import ArgumentParser

@main
struct Forebay: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "forebay",
    abstract: "Takes in what devices publish over MQTT, keeps it, and delivers each batch upstream once.",
    discussion: """
      EXAMPLES:
        forebay demo                          watch the whole way at work
        forebay check --config forebay.yaml   what would run, or what is wrong
        forebay run --config forebay.yaml
        forebay status
        forebay audit
      """,
    version: Version.current,
    subcommands: [
      RunCommand.self, CheckCommand.self, StatusCommand.self, AuditCommand.self, AuditLogCommand.self,
      TokenCommand.self,
      DevicesCommand.self,
      DeadLettersCommand.self, LogCommand.self, SchemaCommand.self, LineageCommand.self, TryCommand.self,
      ReplayCommand.self, BackupCommand.self, RestoreCommand.self, SimulateCommand.self, ReceiveCommand.self,
      DemoCommand.self, FleetCommand.self, SimulateGatewaysCommand.self,
    ])
}
