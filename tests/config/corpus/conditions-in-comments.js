// if you use PORT="902"; change the firewall
// PORT="902"; or 443
/*
// LOGLEVEL="6";
*/
//LOGLEVEL = "5" ;
// TRANSPORT_MODE="san";
// TRANSPORT_MODE="nbdssl"; // needs TLS
/// MAX_RETRIES=3
HOST="vc.example.com"; // USERNAME="old";
USERNAME="backup";
