// Zugang für die Sicherung – bitte nicht ändern
HOST="vc.example.com";
USERNAME="sicherung";
BACKUPROOT="/srv/größe";
