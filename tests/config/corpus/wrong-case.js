host="vc.example.com";
UserName="backup";
TRANSPORT_MODE="NBDSSL";
SNAPSHOT_POLICY='Automatic';
TRANSPORT_FALLBACK="Https, nbdssl";
LogLevel="3";
